"""Capacity: the most requests a second that a served variant answers within an objective.

It comes from a search (``tiankong capacity --open``) for this very objective where one was run,
else from the levels of a table: the level of users with the highest QPS at which the upper bound of
the percentile still is within the limit.  Nothing is interpolated between levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...toolkit.errors import UnusableInputError
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import Load
from ...toolkit.runs.run_file import Run
from ...toolkit.runs.slo import Slo, parse_slo
from ...toolkit.runs.validity import is_valid
from ...toolkit.stats import interval, variation
from .costs import Range
from .estimates import Estimate
from .points import MeasuredPoint, Series

CONFIRMATION = "confirmation"  # the stage of a capacity search whose cells give the figure


@dataclass(frozen=True)
class Searched:
    """What a capacity search found for a series: requests a second, for which objective.

    ``rate`` is the confirmed rate of arrivals; None: the search was a closed loop.
    """

    series: Series
    rank: int
    limit_ms: float
    qps: Range
    rate: float | None
    repeats: int
    run: str


@dataclass(frozen=True)
class Capacity:
    """Requests a second of a series within an objective.

    Args:
        qps: the figure; both ends are the figure itself if it has no interval.
        bounded: whether figure and percentile have intervals; without repeats they have none, and
            the percentile has none either if each repeat alone has too few answers for it.
        point: the level it comes from; None if a search found it.
        search: the search it comes from, else None.

    """

    qps: Range
    bounded: bool
    point: MeasuredPoint | None = None
    search: Searched | None = None


def percentile_of(point: MeasuredPoint, rank: int) -> Estimate | None:
    """Return a point's latency percentile in milliseconds; None: too few answers."""
    found: Estimate | None = getattr(point, f"p{rank}_ms")
    return found


def keeps(point: MeasuredPoint, rank: int, limit_ms: float) -> bool:
    """Tell whether a point's percentile itself is at or under the limit."""
    found = percentile_of(point, rank)
    return is_usable(point) and found is not None and found.value <= limit_ms


def surely_keeps(point: MeasuredPoint, rank: int, limit_ms: float) -> bool:
    """Tell whether the upper bound of a point's percentile is at or under the limit."""
    found = percentile_of(point, rank)
    return (
        keeps(point, rank, limit_ms)
        and found is not None
        and found.high is not None
        and found.high <= limit_ms
    )


def finite_percentile(point: MeasuredPoint, rank: int) -> float:
    """Return a point's percentile in milliseconds; 0 if it has none, or one among the failures."""
    found = percentile_of(point, rank)
    return found.value if found is not None and math.isfinite(found.value) else 0.0


def closest(points: Iterable[MeasuredPoint], rank: int) -> MeasuredPoint | None:
    """Return the usable point of the lowest percentile; None if there is none."""
    known = [point for point in points if is_usable(point) and finite_percentile(point, rank)]
    return min(
        known,
        key=lambda point: (finite_percentile(point, rank), -point.qps.value),
        default=None,
    )


def is_usable(point: MeasuredPoint) -> bool:
    """Tell whether a point has a valid repeat with right answers."""
    return point.valid and point.qps.value > 0


def capacity(
    own: Sequence[MeasuredPoint], searches: Sequence[Searched], rank: int, limit_ms: float
) -> Capacity | None:
    """Return the capacity of a series from its plain points and searches; None if nothing holds.

    Levels whose upper bound holds come first.  A level that was measured once has no bound; it
    counts only if no level of the series has one, and the result says so (``bounded``).
    """
    for search in searches:
        if (search.rank, search.limit_ms) == (rank, limit_ms):
            return Capacity(search.qps, True, search=search)
    sure = [point for point in own if surely_keeps(point, rank, limit_ms)]
    if sure:
        return _at(max(sure, key=lambda point: _rank(point, rank)), rank)
    once = [point for point in own if keeps(point, rank, limit_ms) and _bound(point, rank) is None]
    return _at(max(once, key=lambda point: _rank(point, rank)), rank) if once else None


def _at(point: MeasuredPoint, rank: int) -> Capacity:
    value, ends = point.qps.value, point.qps.ends
    bounded = ends is not None and _bound(point, rank) is not None
    return Capacity(Range(value, *(ends or (value, value))), bounded, point)


def _bound(point: MeasuredPoint, rank: int) -> float | None:
    found = percentile_of(point, rank)
    return None if found is None else found.high


def _rank(point: MeasuredPoint, rank: int) -> tuple[float, float]:
    found = percentile_of(point, rank)
    return (point.qps.value, -(math.inf if found is None else found.value))


def best_points(
    measured: Iterable[MeasuredPoint], rank: int, limit_ms: float
) -> dict[Series, MeasuredPoint]:
    """Return each series' best usable point with a percentile.

    That is the point of its capacity; of a series that never keeps the objective surely it is the
    point that keeps it, else the one with the highest QPS.
    """
    best: dict[Series, tuple[tuple[bool, bool, float, float], MeasuredPoint]] = {}
    for point in measured:
        found = percentile_of(point, rank)
        if not is_usable(point) or found is None or not math.isfinite(found.value):
            continue
        grade = (
            surely_keeps(point, rank, limit_ms),
            keeps(point, rank, limit_ms),
            *_rank(point, rank),
        )
        if point.series not in best or grade > best[point.series][0]:
            best[point.series] = (grade, point)
    return {series: point for series, (_, point) in best.items()}


def is_search(run: Run) -> bool:
    """Tell whether a run file is a search's (capacity, tune), not a sweep's."""
    return "slo" in run.header.plan


def searched(runs: Sequence[Run]) -> tuple[Searched, ...]:
    """Return what capacity searches found, one entry a series and objective.

    Raises UnusableInputError for a search of another kind, and for one that is not finished.
    """
    return tuple(found for run in runs for found in _searched(run))


def _searched(run: Run) -> Iterable[Searched]:
    header = run.header
    if header.plan.get("name") != "capacity":
        raise UnusableInputError(
            f"run {header.run!r} is a search ({header.plan.get('name')}): a report takes sweeps,"
            " and searches of 'tiankong capacity'"
        )
    if not run.is_ended:
        raise UnusableInputError(
            f"run {header.run!r} is a capacity search that was interrupted: run it to its end"
        )
    slo = parse_slo(str(header.plan["slo"]))
    confirmed: dict[Series, dict[Load, list[Cell]]] = {}
    for cell in run.cells:
        if cell.point.stage == CONFIRMATION:
            series = (cell.point.variant, cell.point.stack)
            confirmed.setdefault(series, {}).setdefault(cell.load, []).append(cell)
    for series, groups in confirmed.items():
        cells = list(groups.values())[-1]  # each load after the first was tried because that failed
        if len(slo.limits_ms) == 1 and all(map(is_valid, cells)) and slo.kept(cells):
            yield _found(series, cells, run, slo)


def _found(series: Series, cells: Sequence[Cell], run: Run, slo: Slo) -> Searched:
    rates = [cell.qps for cell in cells]
    low, high = interval(rates, variation([rates])) or (min(rates), max(rates))
    rate = cells[0].load.rate
    if rate is not None:  # the truth lies between the rate that held and the next that did not
        failed = [
            cell.load.rate
            for cell in run.cells
            if cell.load.rate is not None and cell.load.rate > rate and not slo.held(cell)
        ]
        high = max(high, min(failed, default=high))
    mean, (rank, limit_ms) = math.fsum(rates) / len(rates), slo.limits_ms[0]
    figure = Range(mean, low, high)
    return Searched(series, rank, limit_ms, figure, rate, len(cells), run.header.run)
