"""Cost against latency: what each point costs, and which points no other one beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .capacity import is_usable, percentile_of
from .costs import MeasuredMachine, cost
from .estimates import Estimate
from .points import MeasuredPoint
from .prices import Price


@dataclass(frozen=True)
class CostPoint:
    """A valid point, a percentile of its latency in ms, and what a million requests cost."""

    point: MeasuredPoint
    latency_ms: Estimate
    cost: Estimate


def cost_points(
    points: Sequence[MeasuredPoint], rank: int, price: Price, bench: MeasuredMachine
) -> tuple[CostPoint, ...]:
    """Return the valid points that have percentile ``rank`` and a cost at ``price``."""
    made = (_cost_point(point, rank, price, bench) for point in points)
    return tuple(point for point in made if point is not None)


def _cost_point(
    point: MeasuredPoint, rank: int, price: Price, bench: MeasuredMachine
) -> CostPoint | None:
    latency, qps = percentile_of(point, rank), point.qps
    if not is_usable(point) or latency is None or not 0 < latency.value < math.inf:
        return None
    priced = cost(price, qps.value, bench)
    if priced is None:
        return None
    total = priced.per_million * qps.value  # cost is inverse to QPS: its ends change places
    ends = [total / end for end in reversed(qps.ends)] if qps.ends and qps.ends[0] > 0 else []
    return CostPoint(point, latency, Estimate(priced.per_million, *ends))


def front(points: Sequence[CostPoint]) -> tuple[CostPoint, ...]:
    """Return the points that no other one beats in latency and cost, from low to high latency."""
    best: list[CostPoint] = []
    for point in sorted(points, key=lambda other: (other.latency_ms.value, other.cost.value)):
        if not best or point.cost.value < best[-1].cost.value:
            best.append(point)
    return tuple(best)
