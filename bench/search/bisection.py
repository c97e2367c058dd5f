"""The search for the highest load that holds: doubling until it fails, then bisecting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FINE = 0.05  # relative distance at which bisecting ends


@dataclass(frozen=True)
class Bracket:
    """The highest load that held and the lowest that failed; None where there was none."""

    held: float | None
    failed: float | None


def highest(
    holds: Callable[[float], bool], first: float, most: float, whole: bool, fine: float = FINE
) -> Bracket:
    """Return the highest load up to ``most`` that holds, supposing that more load never helps.

    ``whole`` loads are whole numbers (users), others any (rates).

    >>> highest(lambda load: load <= 11, first=1, most=100, whole=True)
    Found(held=11, failed=12)
    """
    held: float | None = None
    load = first
    while True:
        if not holds(load):
            failed = load
            break
        held = load
        if load >= most:
            return Bracket(held, None)
        load = min(2 * load, most)
    if held is None:
        return _below(holds, failed, whole, fine)
    return _between(holds, held, failed, whole, fine)


def _below(holds: Callable[[float], bool], failed: float, whole: bool, fine: float) -> Bracket:
    """Halve a first load that failed until something holds; whole loads end at 1."""
    load, least = failed, 1 if whole else failed / 64
    while load > least:
        load = max(1, load // 2) if whole else load / 2
        if holds(load):
            return _between(holds, load, failed, whole, fine)
        failed = load
    return Bracket(None, failed)


def _between(
    holds: Callable[[float], bool], held: float, failed: float, whole: bool, fine: float
) -> Bracket:
    while failed - held > (max(1.0, fine * held) if whole else fine * held):
        middle = (held + failed) // 2 if whole else (held + failed) / 2
        if holds(middle):
            held = middle
        else:
            failed = middle
    return Bracket(held, failed)
