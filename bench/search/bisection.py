"""Finds the highest load at which an objective holds: doubles until it fails, then bisects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

FINE = 0.05  # bisecting stops when the loads that held and failed are this close (relative)


@dataclass(frozen=True)
class Bracket:
    """The highest load that held and the lowest that failed; None if no load did."""

    held: float | None
    failed: float | None


def highest(
    holds: Callable[[float], bool], first: float, most: float, whole: bool, fine: float = FINE
) -> Bracket:
    """Return the highest load up to ``most`` that holds, with the lowest that failed.

    Assumes that no load above a failed one holds.  ``whole``: loads are whole numbers (users);
    otherwise any number (rates).  ``first`` is the load to begin with.

    >>> highest(lambda load: load <= 11, first=1, most=100, whole=True)
    Bracket(held=11, failed=12)
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
    """Halve a load that failed until one holds; stop at 1 (whole) or at a 64th of it."""
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
