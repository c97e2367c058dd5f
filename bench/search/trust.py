"""Trust: whether the verdict of a search may rest on a cell, by the same codes as a sweep's."""

from __future__ import annotations

from collections.abc import Callable

from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.validity import Warn, invalidating

ATTEMPTS = 3  # at one point, before a search ends without a verdict
# What too much load does by itself: such a cell may show that a load does not hold.  Little's law
# is among them, because answers that take long beside the window are cut by its edges.
OVERLOAD = frozenset({"failures", "no-requests", "unanswered", "unstable", "little"})


class UnconfirmedError(InvalidMeasurementError):
    """What was measured is too little or too disturbed to decide (exit code 3)."""


def distrust(cell: Cell, *, held: bool) -> list[Warn]:
    """Return the reasons not to believe that a cell's load held the objective, or did not."""
    causes = invalidating(cell)
    return causes if held else [warn for warn in causes if warn.code not in OVERLOAD]


def trusted(
    cell: Cell | None, measure: Callable[[int], Cell], held: Callable[[Cell], bool]
) -> Cell:
    """Return a cell that can be believed, measured up to ``ATTEMPTS`` times in all.

    ``cell`` is the last attempt at the point (None: not measured yet), ``measure`` makes the
    attempt of a number, ``held`` tells whether a cell holds the objective.  Raises UnconfirmedError
    with the reason if the last attempt cannot be believed either.
    """
    while cell is None or (distrust(cell, held=held(cell)) and cell.attempt < ATTEMPTS):
        cell = measure(1 if cell is None else cell.attempt + 1)
    believe(cell, held=held(cell))
    return cell


def believe(cell: Cell, *, held: bool) -> None:
    """Raise UnconfirmedError with the reason if no verdict may rest on a cell."""
    if causes := distrust(cell, held=held):
        raise UnconfirmedError(
            f"no verdict: {cell.point} was measured {cell.attempt} times and stayed invalid:"
            f" {causes[0].seen}; {causes[0].advice}"
        )


def require_sound(cell: Cell) -> None:
    """Raise UnconfirmedError if a cell that shows that nothing holds is invalid itself."""
    if causes := invalidating(cell):
        raise UnconfirmedError(f"no verdict: {cell.point}: {causes[0].seen}; {causes[0].advice}")
