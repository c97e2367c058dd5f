"""The sweep: measures every point of a plan with a fresh server and a fresh generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...toolkit.building.folders import Built
from ...toolkit.console import progress, say
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.gate.gold import GoldSet
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import REFERENCE_STACK, TARGET_STACK
from ...toolkit.runs.point import Point
from ...toolkit.runs.run_file import Header
from ...toolkit.runs.validity import invalidating, is_disturbed
from ..load.generator import ALONE, Generators
from ..load.greeting import Greeting
from .beside import Beside, measure_beside
from .ground import Ground, new_header
from .measure import Window
from .plan import Plan
from .session import Session, runs_folder

TRIES = 2  # of a point whose server or generator ends on its own; after that the sweep stops


def sweep(
    plan: Plan,
    variants: Sequence[Built],
    gold: GoldSet,
    seed: int | None = None,
    generators: Generators = ALONE,
    greeting: Greeting | None = None,
    beside: Sequence[Beside] = (),
) -> Path:
    """Measure the points of a plan and return the path of the run file.

    An interrupted run with the same plan, model, variants, gold set, versions and machine is
    resumed where it stopped; otherwise a new one begins.  With a ``greeting`` the points
    are measured on that running server, and ``variants`` must be the one it serves.  When all cells
    are there, ``beside`` is measured.
    Raises InvalidMeasurementError if a server or a generator repeatedly ends on its own.
    """
    ground = Ground.of(variants, gold, generators, greeting, plan.cache, plan.join)

    def is_left(session: Session) -> bool:
        todo = _todo(_points(plan, session.header, ground), session, plan)
        return any(todo) or not all(thing.is_in(session) for thing in beside)

    header = _header(plan, ground, seed)
    with Session.resume_or_begin("sweep", header, runs_folder(), is_left) as session:
        _measure_missing(session, plan, ground)
        measure_beside(session, beside)
    return session.path


def _measure_missing(session: Session, plan: Plan, ground: Ground) -> None:
    points, there = _points(plan, session.header, ground), len(session.cells)
    if there:
        say(f"sweep: going on with {session.path} ({there} of {len(points)} cells are there)")
    while todo := list(_todo(points, session, plan)):  # ends: attempts are counted
        with progress("sweep", len(todo)) as step:
            for point, attempt, why in todo:
                mark = f", attempt {attempt}: the last one was {why}" if why else ""
                step(f"{points.index(point) + 1}/{len(points)} {point}{mark}")
                window = _window(plan, session.header.seed, attempt)
                session.append(_persistent(ground, point, window))


def _window(plan: Plan, seed: int, attempt: int) -> Window:
    return Window(plan.seconds, plan.warmup_seconds, seed=seed, attempt=attempt)


def _persistent(ground: Ground, point: Point, window: Window) -> Cell:
    for left in range(TRIES - 1, -1, -1):
        try:
            return ground.measure(point, window)
        except InvalidMeasurementError as error:
            if not left:
                raise
            say(f"sweep: {error}; measuring {point} once more")
    raise AssertionError("unreachable")


def _todo(
    points: Sequence[Point], session: Session, plan: Plan
) -> Iterator[tuple[Point, int, str]]:
    """Yield the points to measure: those without a cell, and disturbed ones with attempts left.

    Each comes with the number of the next attempt and the reason for it (empty for the first).
    """
    for point in points:
        cell = session.get(point)
        if cell is None:
            yield point, 1, ""
        elif is_disturbed(cell) and cell.attempt < plan.attempts:
            codes = [warn.code for warn in invalidating(cell)]
            yield point, cell.attempt + 1, ", ".join(codes)


def _points(plan: Plan, header: Header, ground: Ground) -> list[Point]:
    names = [n for n in header.variants if not plan.variants or n in plan.variants]
    points = plan.points(names, header.seed, TARGET_STACK if ground.target else REFERENCE_STACK)
    there = header.machine["usable_cores"]
    return [point for point in points if point.load.cores is None or point.load.cores <= there]


def _header(plan: Plan, ground: Ground, seed: int | None) -> Header:
    names = list(ground.variants)
    if not names:
        raise UnusableInputError("there is no variant to sweep: build one first")
    if plan.yardstick and not ground.target and plan.yardstick not in names:
        raise UnusableInputError(
            f"plan {plan.name} needs {plan.yardstick} for the article's server: build it too"
        )
    if ground.target and any(grid.cores for grid in plan.grids):
        raise UnusableInputError(
            f"plan {plan.name} pins the server to cores: a running one cannot be pinned"
        )
    return new_header(plan.name, plan.as_json() | ground.as_json(), ground, seed)
