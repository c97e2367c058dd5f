"""Points: the cells of runs, grouped by variant, stack and load."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from ...toolkit.runs.load import Load, LoadOrder
from ...toolkit.runs.point import Point
from ...toolkit.runs.run_file import Cell, Run, Warn
from ...toolkit.runs.stages import STAGES
from ...toolkit.runs.validity import doubts, is_valid
from ...toolkit.stats import percentile
from .estimates import RANKS, UNKNOWN, Estimate, Noise, central, percentile_estimate

ARTICLE_STACK = "article"

Series = tuple[str, str]  # variant, stack


@dataclass(frozen=True)
class Doubt:
    """A warning and the cell it is about."""

    cell: Cell
    warn: Warn


@dataclass(frozen=True)
class MeasuredPoint:
    """One variant served by one stack under one load, over its repeats.

    Latencies are in milliseconds (None: too few answers), CPU in percent of the whole machine.
    Figures come from the valid repeats, or from all repeats if none is valid; ``failures``,
    ``wrong`` and ``doubts`` count every repeat.  QPS and percentiles are estimates; CPU, energy and
    mean latency are medians.  ``goodput`` is QPS times the share of right answers within the
    objective's limit, ``late_p99_ms`` (open loop) how late requests were sent, ``ratio`` the QPS
    divided by the QPS of the article's server in the same run.  ``stages`` are the mean
    milliseconds of a request in each stage of the server (:data:`.STAGES`), the mean of the
    repeats that tell; empty if none does.
    """

    variant: str
    stack: str
    load: Load
    repeats: int
    valid_repeats: int
    qps: Estimate
    qps_per_core: float
    goodput: float
    mean_ms: float
    p50_ms: Estimate | None
    p90_ms: Estimate | None
    p95_ms: Estimate | None
    p99_ms: Estimate | None
    late_p99_ms: float | None
    server_cpu_percent: float | None
    server_quota_percent: float | None
    generator_cpu_percent: float
    joules_per_request: float | None
    resident_bytes: int | None
    failures: int
    wrong: int
    doubts: tuple[Doubt, ...]
    stages: Mapping[str, float] = field(default_factory=dict)
    ratio: float | None = None

    @property
    def series(self) -> Series:
        """The variant and the stack: points that share them are one line in a plot."""
        return (self.variant, self.stack)

    @property
    def key(self) -> Point:
        """The point's key, unique in a report."""
        return Point(self.variant, self.stack, self.load)

    @property
    def users(self) -> int:
        """Concurrent users of a closed loop; 0 in an open loop."""
        return self.load.users

    @property
    def sentences(self) -> Estimate:
        """Right answers to sentences a second."""
        return self.qps.times(self.load.batch)

    @property
    def valid(self) -> bool:
        """Whether at least one repeat is valid."""
        return self.valid_repeats > 0


def points(runs: Sequence[Run], article_variant: str, limit_ms: float) -> tuple[MeasuredPoint, ...]:
    """Return the points of all runs together: the article's server first, then by variant."""
    cores = int(runs[0].header.machine["usable_cores"])
    groups = _grouped(cell for run in runs for cell in run.cells)
    noise = {is_open: _noise(groups, is_open) for is_open in (False, True)}
    ratios = [_ratios(run, article_variant) for run in runs]
    measured = [
        replace(
            _point(key, cells, key.load.cores or cores, _noise_of(key, cells, noise), limit_ms),
            ratio=_ratio(ratios, key),
        )
        for key, cells in groups.items()
    ]
    order = list(dict.fromkeys(name for run in runs for name in run.header.variants))
    return tuple(sorted(measured, key=lambda point: _place(point, order)))


def _noise(groups: Mapping[Point, Sequence[Cell]], is_open: bool) -> Noise:
    # Pooled by kind of loop: arrivals fix an open loop's QPS, so its repeats vary far less.
    return Noise.of(
        [cell for cell in cells if is_valid(cell)]
        for key, cells in groups.items()
        if key.load.is_open is is_open
    )


def _noise_of(key: Point, cells: Sequence[Cell], noise: Mapping[bool, Noise]) -> Noise:
    # For a single valid repeat too: invalid repeats say nothing about the point's own variation.
    return noise[key.load.is_open] if len(cells) > 1 else UNKNOWN


def _place(point: MeasuredPoint, order: Sequence[str]) -> tuple[bool, int, str, str, LoadOrder]:
    place = order.index(point.variant) if point.variant in order else len(order)
    return (point.stack != ARTICLE_STACK, place, point.variant, point.stack, point.load.order)


def _grouped(cells: Iterable[Cell]) -> dict[Point, list[Cell]]:
    groups: dict[Point, list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.point.gathered].append(cell)
    return groups


def _point(
    key: Point, cells: Sequence[Cell], cores: int, noise: Noise, limit_ms: float
) -> MeasuredPoint:
    valid = [cell for cell in cells if is_valid(cell)]
    counted = valid or cells
    qps = Estimate.of([cell.qps for cell in counted], noise.qps)
    p50, p90, p95, p99 = _rising(percentile_estimate(counted, rank, noise) for rank in RANKS)
    late = list(chain.from_iterable(cell.late_ms for cell in counted))
    return MeasuredPoint(
        variant=key.variant,
        stack=key.stack,
        load=key.load,
        repeats=len(cells),
        valid_repeats=len(valid),
        qps=qps,
        qps_per_core=qps.value / cores,
        goodput=qps.value * _share_in_time(counted, limit_ms),
        mean_ms=statistics.median(cell.mean_ms for cell in counted),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        late_p99_ms=percentile(late, 99),
        server_cpu_percent=_median(cell.server_cpu_percent for cell in counted),
        server_quota_percent=_median(cell.server_quota_percent for cell in counted),
        generator_cpu_percent=statistics.median(cell.generator_cpu_percent for cell in counted),
        joules_per_request=_median(cell.joules_per_request for cell in counted),
        resident_bytes=max(
            (cell.resident_bytes for cell in cells if cell.resident_bytes is not None), default=None
        ),
        failures=sum(cell.failed for cell in cells),
        wrong=sum(cell.wrong for cell in cells),
        doubts=tuple(Doubt(cell, warn) for cell in cells for warn in doubts(cell)),
        stages=_stages([cell.stages for cell in counted if cell.stages]),
    )


def _share_in_time(cells: Sequence[Cell], limit_ms: float) -> float:
    """Return which share (0..1) of the right answers took at most ``limit_ms``."""
    answers = sum(len(cell.latencies_ms) for cell in cells)
    return sum(cell.in_time(limit_ms) for cell in cells) / answers if answers else 0.0


def _rising(percentiles: Iterable[Estimate | None]) -> Iterator[Estimate | None]:
    """Yield percentiles of rising ranks, without those under a lower rank's.

    A percentile of all answers in one sample can be under a lower one that is a mean over repeats:
    fast repeats have more answers.  Then the answers do not support it.
    """
    highest = 0.0
    for found in percentiles:
        if found is not None and found.value < highest:
            yield None
            continue
        highest = highest if found is None else found.value
        yield found


def _stages(told: Sequence[Mapping[str, float]]) -> dict[str, float]:
    shared = [stage for stage in STAGES if told and all(stage in each for each in told)]
    return {stage: statistics.fmean(each[stage] for each in told) for stage in shared}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _yardstick(run: Run, article_variant: str) -> str | None:
    """Return the variant that the article's server ran: the article's own, else the only one."""
    variants = {cell.point.variant for cell in run.cells if cell.point.stack == ARTICLE_STACK}
    if article_variant in variants:
        return article_variant
    return variants.pop() if len(variants) == 1 else None


def _ratios(run: Run, article_variant: str) -> dict[Point, float]:
    rates = {
        key: central([cell.qps for cell in cells if is_valid(cell)])
        for key, cells in _grouped(run.cells).items()
        if any(is_valid(cell) for cell in cells)
    }
    yardstick = _yardstick(run, article_variant)
    if yardstick is None:
        return {}
    return {
        key: rate / base
        for key, rate in rates.items()
        if (base := rates.get(Point(yardstick, ARTICLE_STACK, key.load)))
    }


def _ratio(ratios: Sequence[Mapping[Point, float]], key: Point) -> float | None:
    """Return the mean over runs of a ratio that was computed inside each run."""
    known = [run[key] for run in ratios if key in run]
    return central(known) if known else None


def article_points(
    measured: Sequence[MeasuredPoint], article_variant: str
) -> dict[int, MeasuredPoint]:
    """Return the plain points of the article's server, by users.

    They are those of the article's variant; without any, those of the only variant it ran.
    """
    plain = [point for point in measured if point.stack == ARTICLE_STACK and point.load.plain]
    own = [point for point in plain if point.variant == article_variant]
    if not own and len({point.variant for point in plain}) == 1:
        own = plain
    return {point.users: point for point in own}
