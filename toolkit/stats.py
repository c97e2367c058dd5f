"""Percentiles of raw latencies with the sample sizes they need, and intervals over repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Times = Sequence[float] | NDArray[np.float64]

# Fewest successes for a percentile.  With so many samples the chance that the true percentile lies
# above the highest of them stays well under 5 % (binomial bound).
SUPPORT = {50: 20, 90: 65, 95: 130, 99: 660}


def percentile(latencies: Times, rank: int, failures: int = 0) -> float | None:
    """Return the ``rank``-th percentile in the unit of ``latencies``, failures counted as infinite.

    None means "too few": fewer successes than :data:`SUPPORT` requires.  The result is ``inf``
    if the percentile falls among the failures.

    >>> percentile([1.0] * 200, 95)
    1.0
    """
    return percentiles(latencies, failures, (rank,))[rank]


def percentiles(
    latencies: Times, failures: int = 0, ranks: Iterable[int] = SUPPORT
) -> dict[int, float | None]:
    """Return several percentiles by rank (see :func:`percentile`); the latencies are sorted once.

    >>> percentiles([1.0] * 65)
    {50: 1.0, 90: 1.0, 95: None, 99: None}
    """
    ordered = np.sort(np.asarray(latencies, dtype=np.float64))
    count = len(ordered)
    found: dict[int, float | None] = {}
    for rank in ranks:
        place = math.ceil((count + failures) * rank / 100) - 1  # nearest rank: an observed value
        if count < SUPPORT[rank]:
            found[rank] = None
        else:
            found[rank] = float(ordered[place]) if place < count else math.inf
    return found


def percentile_bounds(latencies: Times, rank: int) -> tuple[float, float]:
    """Return a 95 % interval of a percentile from order statistics.

    The ranks come from the normal approximation of the binomial distribution; nothing is assumed
    about the distribution of the latencies.  At least one latency is needed.
    """
    ordered = np.sort(np.asarray(latencies, dtype=np.float64))
    count, share = len(ordered), rank / 100
    half = 1.96 * np.sqrt(count * share * (1 - share))
    low = int(np.clip(np.floor(count * share - half) - 1, 0, count - 1))
    high = int(np.clip(np.ceil(count * share + half), 0, count - 1))
    return float(ordered[low]), float(ordered[high])


@dataclass(frozen=True)
class Variation:
    """Variation between repeats: standard deviation of logarithms, degrees of freedom."""

    deviation: float
    freedom: int


def variation(groups: Iterable[Sequence[float]]) -> Variation | None:
    """Return the variation between repeats, pooled over groups of positive values.

    Two or three repeats of one point say little about how much repeats vary; those of all points
    of a run, pooled, say more (one-way analysis of variance on logarithms).  None if no group has
    two values.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        logs = np.log(np.asarray(group, dtype=np.float64))
        if len(logs) > 1:
            squares += float(np.square(logs - logs.mean()).sum())
            freedom += len(logs) - 1
    return Variation(float(np.sqrt(squares / freedom)), freedom) if freedom else None


def interval(values: Sequence[float], between: Variation | None) -> tuple[float, float] | None:
    """Return the 95 % interval of the geometric mean of positive repeats (Student's t).

    ``between`` is the variation of the repeats, of this group or pooled.  None if it is unknown.
    """
    if between is None or not values:
        return None
    logs = np.log(np.asarray(values, dtype=np.float64))
    half = _student(between.freedom) * between.deviation / np.sqrt(len(logs))
    return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


@cache
def _student(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t distribution."""
    from scipy.special import stdtrit  # scipy.stats gives the same, and takes a second to import

    return float(stdtrit(freedom, 0.975))


def middle_half(values: Times) -> NDArray[np.int64]:
    """Return the indices of the middle half of the values, in ascending order of value.

    >>> middle_half([9.0, 1.0, 3.0, 2.0]).tolist()
    [3, 2]
    """
    order = np.argsort(np.asarray(values), kind="stable")
    cut = len(order) // 4
    return order[cut : len(order) - cut].astype(np.int64)


def highest_share(count: int, total: int) -> float:
    """Return the exact upper 95 % bound of a share of which ``count`` in ``total`` were seen.

    One-sided, by C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits
    illustrated in the case of the binomial", Biometrika 26, 1934: with a larger share so few would
    be seen in less than 5 % of all samples.

    >>> round(highest_share(0, 365), 5), highest_share(3, 3)
    (0.00817, 1.0)
    """
    if count >= total:
        return 1.0
    from scipy.special import betaincinv  # what scipy.stats.beta.ppf is

    return float(betaincinv(count + 1, total - count, 0.95))
