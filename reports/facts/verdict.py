"""The verdict: which variant to deploy, from valid points of variants that passed the gate.

All points come from one machine, so the highest QPS is the cheapest.  Only plain points count:
a closed loop over the gold set, so that every variant did the same work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .points import MeasuredPoint, Series
from .variants import VariantRow

CLOSE_PERCENT = 5.0


@dataclass(frozen=True)
class Rival:
    """A point too close to the chosen one to tell them apart, and the difference in percent.

    ``overlapping``: their confidence intervals overlap; if false, the difference is below a margin.
    """

    point: MeasuredPoint
    percent: float
    overlapping: bool


@dataclass(frozen=True)
class Undecided:
    """A variant that cannot be recommended.

    ``reason`` is "gate-failed", "no-gate", "not-judged", "at-chance" or "no-valid-point".
    """

    variant: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What to deploy; ``chosen`` is None if no point qualifies.

    ``within_limit`` tells whether the chosen point's P95 stays at or under ``limit_ms``.
    """

    limit_ms: float
    chosen: MeasuredPoint | None
    within_limit: bool
    rivals: tuple[Rival, ...]
    refusals: tuple[Undecided, ...]


def decide(
    measured: Sequence[MeasuredPoint], variants: Sequence[VariantRow], limit_ms: float
) -> Verdict:
    """Choose the cheapest point with a P95 of at most ``limit_ms``, else that of lowest P95."""
    passed = {row.name for row in variants if row.gate and row.gate.recommended}
    usable = [point for point in measured if point.variant in passed and _usable(point)]
    refusals = tuple(_refusals(variants, {point.variant for point in usable} if measured else None))
    within = [point for point in usable if _p95(point) <= limit_ms]
    if within:
        chosen = max(within, key=_cheapness)
        rivals = _rivals(chosen, best_points(within, limit_ms).values())
        return Verdict(limit_ms, chosen, True, rivals, refusals)
    fastest = min(usable, key=lambda point: (_p95(point), -point.qps.value), default=None)
    return Verdict(limit_ms, fastest, False, (), refusals)


def best_points(measured: Iterable[MeasuredPoint], limit_ms: float) -> dict[Series, MeasuredPoint]:
    """Return each series' cheapest valid point; points within ``limit_ms`` are preferred."""
    best: dict[Series, MeasuredPoint] = {}
    for point in measured:
        if not _usable(point):
            continue
        other = best.get(point.series)
        if other is None or _rank(point, limit_ms) > _rank(other, limit_ms):
            best[point.series] = point
    return best


def _rank(point: MeasuredPoint, limit_ms: float) -> tuple[bool, float, float]:
    return (_p95(point) <= limit_ms, *_cheapness(point))


def _cheapness(point: MeasuredPoint) -> tuple[float, float]:
    return (point.qps.value, -_p95(point))


def _usable(point: MeasuredPoint) -> bool:
    return point.valid and point.qps.value > 0 and math.isfinite(_p95(point))


def _p95(point: MeasuredPoint) -> float:
    return point.p95_ms.value if point.p95_ms is not None else math.inf


def _rivals(chosen: MeasuredPoint, others: Iterable[MeasuredPoint]) -> tuple[Rival, ...]:
    rivals = (_rival(chosen, other) for other in others if other.series != chosen.series)
    return tuple(rival for rival in rivals if rival is not None)


def _rival(chosen: MeasuredPoint, other: MeasuredPoint) -> Rival | None:
    """Return ``other`` as a rival if it is too close to ``chosen``, else None."""
    percent = (chosen.qps.value / other.qps.value - 1) * 100
    overlapping = chosen.qps.overlaps(other.qps)
    # Without repeats there are no intervals, so a margin decides.
    close = percent < CLOSE_PERCENT if overlapping is None else overlapping
    return Rival(other, percent, bool(overlapping)) if close else None


def _refusals(variants: Sequence[VariantRow], usable: set[str] | None) -> Iterable[Undecided]:
    """Yield the variants that cannot be recommended; ``usable`` is None if no point is given."""
    for row in variants:
        if row.gate is None:
            yield Undecided(row.name, "no-gate")
        elif not row.gate.passed:
            yield Undecided(row.name, "gate-failed")
        elif not row.gate.judged:
            yield Undecided(row.name, "not-judged")
        elif row.gate.at_chance:
            yield Undecided(row.name, "at-chance")
        elif usable is not None and row.name not in usable:
            yield Undecided(row.name, "no-valid-point")
