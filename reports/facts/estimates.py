"""Estimates: one figure from a point's repeats, with a 95 % confidence interval if possible.

The value is the geometric mean, because speeds vary by factors.  The interval is that of the mean
logarithm (Student's t); its width comes from the variation of the repeats: that of all points
together, and a point's own where points do not vary alike.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from ...toolkit.runs.cell import Cell
from ...toolkit.stats import Variation, interval, percentile, variation

CONFIDENCE_PERCENT = 95  # what toolkit.stats.interval gives
RANKS = (50, 90, 95, 99)


@dataclass(frozen=True)
class Estimate:
    """A figure and the ends of its confidence interval (None: there are no repeats)."""

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Sequence[float], between: Variation | None) -> Estimate:
        """Return the estimate from one or more repeats; ``between`` is all points' variation."""
        return cls.around(central(values), values, between)

    @classmethod
    def around(cls, value: float, values: Sequence[float], between: Variation | None) -> Estimate:
        """Return ``value`` with the interval for as many repeats as there are ``values``."""
        if not values or not 0 < value < math.inf:
            return cls(value)
        known = between and between.of([one for one in values if 0 < one < math.inf])
        ends = interval([value] * len(values), known)
        return cls(value, *ends) if ends else cls(value)

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval's ends; None if there is no interval."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def overlaps(self, other: Estimate) -> bool | None:
        """Tell whether the intervals overlap; None if one of the estimates has no interval."""
        if self.ends is None or other.ends is None:
            return None
        return self.ends[0] <= other.ends[1] and other.ends[0] <= self.ends[1]

    def times(self, factor: float) -> Estimate:
        """Return the estimate multiplied by a factor (in another unit)."""
        ends = () if self.ends is None else tuple(end * factor for end in self.ends)
        return Estimate(self.value * factor, *ends)


def central(values: Sequence[float]) -> float:
    """Return the geometric mean; infinite if any value is infinite, else 0 if any value is 0.

    >>> round(central([50.0, 200.0]), 6), central([80.0]), central([0.0, 5.0])
    (100.0, 80.0, 0.0)
    """
    if len(set(values)) == 1:
        return values[0]  # exact, without the rounding of a logarithm
    if math.inf in values or min(values) <= 0:
        return math.inf if math.inf in values else 0.0
    return statistics.geometric_mean(values)


@dataclass(frozen=True)
class Noise:
    """How much valid repeats of a point vary, pooled over points: in QPS and in each percentile."""

    qps: Variation | None
    percentiles: dict[int, Variation | None]

    @classmethod
    def of(cls, groups: Iterable[Sequence[Cell]]) -> Noise:
        """Return the pooled variation of valid cells, given in one group for each point."""
        repeated = [cells for cells in groups if len(cells) > 1]
        return cls(
            variation([_positive(cell.qps for cell in cells) for cells in repeated]),
            {
                rank: variation(
                    [_positive(cell.percentile_ms(rank) for cell in cells) for cells in repeated]
                )
                for rank in RANKS
            },
        )


UNKNOWN = Noise(None, dict.fromkeys(RANKS))
"""For points that were measured once: other points may vary less or more than they do."""


def _positive(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and 0 < value < math.inf]


def percentile_estimate(cells: Sequence[Cell], rank: int, noise: Noise) -> Estimate | None:
    """Return a latency percentile over a point's repeats in ms; None if answers are too few.

    If a repeat alone has too few answers, the answers of all repeats are pooled into one sample.
    Leaving that repeat out would make the figure too good: a slow repeat has fewer answers.
    """
    percentiles = [cell.percentile_ms(rank) for cell in cells]
    known = [value for value in percentiles if value is not None]
    between = noise.percentiles[rank]
    if len(known) == len(percentiles):
        return Estimate.of(known, between)
    every = list(chain.from_iterable(cell.latencies_ms for cell in cells))
    pooled = percentile(every, rank, sum(cell.failed + cell.wrong for cell in cells))
    supporting = known if len(known) > 1 else ()
    return None if pooled is None else Estimate.around(pooled, supporting, between)
