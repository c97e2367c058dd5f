"""What a plan would measure of the plain table, and what of it was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.runs.load import ARTICLE_STACK, REFERENCE_STACK, TARGET_STACK, Load
from ...toolkit.runs.run_file import Run
from .points import MeasuredPoint, Series


@dataclass(frozen=True)
class Planned:
    """The plain levels that runs planned for each series, and their cells.

    ``levels`` maps a series to its numbers of users, ``cells`` is how many cells were planned,
    ``measured`` how many of those there are (one a repeat, whatever the attempts).
    """

    levels: Mapping[Series, tuple[int, ...]]
    cells: int
    measured: int


def planned(runs: Sequence[Run], points: Sequence[MeasuredPoint]) -> Planned:
    """Return what runs planned of the plain table: a closed loop over the gold set.

    A level that any series has was planned for all that are compared with it.  Older headers do
    not say every part of the plan; then what was measured is all that is known.
    """
    levels: dict[Series, set[int]] = {}
    cells, measured = 0, 0
    for run in runs:
        planned_cells = {
            (series, users, repeat)
            for series, users in _points(run)
            for repeat in range(1, int(run.header.plan.get("repeats") or 1) + 1)
        }
        for series, users, _ in planned_cells:
            levels.setdefault(series, set()).add(users)
        there = {_key(cell.point.variant, cell.point.stack, cell.load, cell.point.repeat)
                 for cell in run.cells}  # fmt: skip
        cells += len(planned_cells)
        measured += len(planned_cells & there)
    own = {point.users for point in points if point.stack != ARTICLE_STACK}
    for point in points:
        seen = levels.setdefault(point.series, set())
        seen |= own if point.stack != ARTICLE_STACK else {point.users}
    return Planned({key: tuple(sorted(found)) for key, found in levels.items()}, cells, measured)


def _key(variant: str, stack: str, load: Load, repeat: int) -> tuple[Series, int, int]:
    return ((variant, stack), load.users if load.plain else 0, repeat)


def _points(run: Run) -> Iterable[tuple[Series, int]]:
    """Yield the plain points of a run's plan; nothing if its header does not say them."""
    plan = run.header.plan
    users = sorted({level for grid in _plain_grids(plan) for level in grid})
    names = plan.get("variants") or list(run.header.variants)
    stack = TARGET_STACK if plan.get("target") else REFERENCE_STACK
    for level in users:
        for name in names:
            if name in run.header.variants:
                yield (name, stack), level
        yardstick = plan.get("yardstick")
        if yardstick and stack == REFERENCE_STACK:
            yield (yardstick, ARTICLE_STACK), level


def _plain_grids(plan: Mapping[str, Any]) -> Iterable[Sequence[int]]:
    """Yield the levels of users of each grid without sentence lengths, batches or cores.

    Plans of the first format had one grid, of levels alone.
    """
    first = [{"levels": plan["levels"]}] if {"levels", "variants"} <= plan.keys() else []
    for grid in plan.get("grids", first):
        single = 1 in (grid.get("batches") or [1])
        if single and not grid.get("tokens") and not grid.get("cores"):
            yield grid.get("levels", ())
