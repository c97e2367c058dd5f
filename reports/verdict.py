"""The verdict: which variant to deploy, from valid points of variants that passed the gate.

All points share one machine, so the cheapest million requests is the highest QPS.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .tables import Point, Series, VariantRow

CLOSE_PERCENT = 5.0


@dataclass(frozen=True)
class Rival:
    """A point too close to the chosen one to call, and how many percent lie between them."""

    point: Point
    percent: float


@dataclass(frozen=True)
class Refusal:
    """A variant that cannot be recommended: "gate-failed", "no-gate" or "no-valid-point"."""

    variant: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What to deploy; ``chosen`` is None if nothing qualifies.

    ``within_limit`` tells whether the chosen point's P95 stays at or under ``limit_ms``.
    """

    limit_ms: float
    chosen: Point | None
    within_limit: bool
    rivals: tuple[Rival, ...]
    refusals: tuple[Refusal, ...]


def decide(found: Sequence[Point], variants: Sequence[VariantRow], limit_ms: float) -> Verdict:
    """Return the cheapest point whose P95 is at most ``limit_ms``, else the one of lowest P95."""
    passed = {row.name for row in variants if row.gate and row.gate.passed}
    usable = [point for point in found if point.variant in passed and _usable(point)]
    refusals = tuple(_refusals(variants, {point.variant for point in usable}))
    within = [point for point in usable if _p95(point) <= limit_ms]
    if within:
        chosen = max(within, key=_cheapness)
        rivals = _rivals(chosen, best_points(within, limit_ms).values())
        return Verdict(limit_ms, chosen, True, rivals, refusals)
    fastest = min(usable, key=lambda point: (_p95(point), -point.qps.median), default=None)
    return Verdict(limit_ms, fastest, False, (), refusals)


def best_points(found: Iterable[Point], limit_ms: float) -> dict[Series, Point]:
    """Return each series' cheapest valid point, one within ``limit_ms`` before any beyond it."""
    best: dict[Series, Point] = {}
    for point in found:
        if not _usable(point):
            continue
        other = best.get(point.series)
        if other is None or _rank(point, limit_ms) > _rank(other, limit_ms):
            best[point.series] = point
    return best


def _rank(point: Point, limit_ms: float) -> tuple[bool, float, float]:
    return (_p95(point) <= limit_ms, *_cheapness(point))


def _cheapness(point: Point) -> tuple[float, float]:
    return (point.qps.median, -_p95(point))


def _usable(point: Point) -> bool:
    return point.valid and point.qps.median > 0 and math.isfinite(_p95(point))


def _p95(point: Point) -> float:
    return point.p95_ms.median if point.p95_ms is not None else math.inf


def _rivals(chosen: Point, others: Iterable[Point]) -> tuple[Rival, ...]:
    rivals = [
        Rival(other, (chosen.qps.median / other.qps.median - 1) * 100)
        for other in others
        if other.series != chosen.series
    ]
    return tuple(rival for rival in rivals if _close(chosen, rival))


def _close(chosen: Point, rival: Rival) -> bool:
    # A single run carries no interval, so a margin decides; overlapping repeats are no difference.
    if rival.percent < CLOSE_PERCENT:
        return True
    repeated = min(chosen.valid_repeats, rival.point.valid_repeats) > 1
    return repeated and rival.point.qps.high >= chosen.qps.low


def _refusals(variants: Sequence[VariantRow], usable: set[str]) -> Iterable[Refusal]:
    for row in variants:
        if row.gate is None:
            yield Refusal(row.name, "no-gate")
        elif not row.gate.passed:
            yield Refusal(row.name, "gate-failed")
        elif row.name not in usable:
            yield Refusal(row.name, "no-valid-point")
