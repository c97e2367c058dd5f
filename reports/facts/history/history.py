"""History: how speed changed from epoch to epoch on one machine.

A change is taken for one only if the 95 % intervals of the two figures do not overlap; for two
independent estimates that is stricter than a test at 5 %.  A change-point method would need far
more epochs than anybody has.  The intervals come from repeats within an epoch: what else changed on
the machine between two epochs is not in them, so the article's server, whose code does not change,
is the control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ....toolkit.runs.point import Point
from ....toolkit.runs.run_file import Header, Run
from ..capacity import is_search
from ..estimates import Estimate
from ..points import ARTICLE_STACK, MeasuredPoint, points
from .pooling import Difference, Epoch, software


@dataclass(frozen=True)
class Snapshot:
    """One epoch: its runs, its plain points by key, and what differs from the epoch before."""

    runs: tuple[Run, ...]
    points: Mapping[Point, MeasuredPoint]
    differences: tuple[Difference, ...]

    @property
    def header(self) -> Header:
        """The first run's header."""
        return self.runs[0].header


@dataclass(frozen=True)
class Shift:
    """How a figure differs from the one before, in percent.

    ``real``: the intervals do not overlap; None if one of the figures has no interval.
    """

    percent: float
    real: bool | None


@dataclass(frozen=True)
class Step:
    """A point in one epoch (``place`` in the history); the shifts are None at the first."""

    place: int
    point: MeasuredPoint
    qps: Shift | None
    p95: Shift | None


@dataclass(frozen=True)
class Trend:
    """One plain point over the epochs that measured it, oldest first."""

    key: Point
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class History:
    """The epochs, oldest first, and the trends of points that the newest and another one have."""

    snapshots: tuple[Snapshot, ...]
    trends: tuple[Trend, ...]

    def shaken(self, place: int) -> tuple[Step, ...]:
        """Return the article's server's steps to an epoch that are real changes of its QPS.

        Its code is the same in every epoch: then the machine changed, or its libraries did.
        """
        return tuple(
            step
            for trend in self.trends
            if trend.key.stack == ARTICLE_STACK
            for step in trend.steps
            if step.place == place and step.qps is not None and step.qps.real
        )


def history(
    epochs: Sequence[Epoch], article_variant: str, limit_ms: float, newest: Iterable[MeasuredPoint]
) -> History | None:
    """Return the history of epochs, oldest first; ``newest`` are the last one's points.

    None if there is one epoch only.
    """
    if len(epochs) < 2:
        return None
    measured = [_plain(epoch, article_variant, limit_ms) for epoch in epochs[:-1]]
    measured.append({point.key: point for point in newest if point.load.plain})
    snapshots = [
        Snapshot(
            epoch,
            measured[place],
            tuple(software(epochs[place - 1][0].header, epoch[0].header)) if place else (),
        )
        for place, epoch in enumerate(epochs)
    ]
    trends = (Trend(key, tuple(_steps(key, measured))) for key in measured[-1])
    return History(tuple(snapshots), tuple(trend for trend in trends if len(trend.steps) > 1))


def _plain(epoch: Epoch, article_variant: str, limit_ms: float) -> dict[Point, MeasuredPoint]:
    sweeps = [run for run in epoch if not is_search(run)]
    measured = points(sweeps, article_variant, limit_ms) if sweeps else ()
    return {point.key: point for point in measured if point.load.plain}


def _steps(key: Point, measured: Sequence[Mapping[Point, MeasuredPoint]]) -> Iterable[Step]:
    before: MeasuredPoint | None = None
    for place, found in enumerate(measured):
        point = found.get(key)
        if point is None:
            continue
        if before is None:
            yield Step(place, point, None, None)
        else:
            # An invalid point says nothing of a change.
            known = before.valid and point.valid
            qps = shift(before.qps, point.qps) if known else None
            yield Step(place, point, qps, shift(before.p95_ms, point.p95_ms) if known else None)
        before = point


def shift(before: Estimate | None, after: Estimate | None) -> Shift | None:
    """Return how a figure changed; None if one of them is not a positive, finite number.

    >>> shift(Estimate(100.0, 98.0, 102.0), Estimate(110.0, 108.0, 112.0))
    Shift(percent=10.000000000000009, real=True)
    """
    if before is None or after is None or not 0 < before.value < float("inf"):
        return None
    if not 0 < after.value < float("inf"):
        return None
    overlapping = before.overlaps(after)
    percent = (after.value / before.value - 1) * 100
    return Shift(percent, None if overlapping is None else not overlapping)
