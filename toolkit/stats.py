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


LEAST_GROUPS = 8  # fewer say nothing about whether they vary alike
LEAST_WEIGHT = 1.0  # of a typical group: with less, Student's t of a single repeat has no end
LEAST_SHARE = 1e-5  # of the median variance: repeats that agree by chance have a logarithm too


@dataclass(frozen=True)
class Variation:
    """Variation between repeats: standard deviation of logarithms, degrees of freedom.

    Where groups do not vary alike, ``typical`` is the deviation of a typical group, and ``weight``
    how many degrees of freedom that is worth beside a group's own (infinite: all vary alike).
    """

    deviation: float
    freedom: float
    typical: float = 0.0
    weight: float = math.inf

    def of(self, group: Sequence[float]) -> Variation:
        """Return the variation of one of the groups: its own and the typical one, weighted.

        It is the moderated variance of G. K. Smyth, "Linear models and empirical Bayes methods for
        assessing differential expression", Stat. Appl. Genet. Mol. Biol. 3, 2004, section 3.
        """
        if math.isinf(self.weight):
            return self
        square, own = _square(group)
        freedom = self.weight + own
        total = self.weight * self.typical**2 + own * square
        return Variation(math.sqrt(total / freedom), min(freedom, self.freedom))


def variation(groups: Iterable[Sequence[float]]) -> Variation | None:
    """Return the variation between repeats, pooled over groups of positive values.

    Two or three repeats of one point say little about how much repeats vary; those of all points
    of a run, pooled, say more (one-way analysis of variance on logarithms).  How alike the groups
    vary is estimated too, from ``LEAST_GROUPS`` on.  None if no group has two values.
    """
    known = [(square, own) for square, own in map(_square, groups) if own]
    freedom = sum(own for _, own in known)
    if not freedom:
        return None
    deviation = math.sqrt(sum(square * own for square, own in known) / freedom)
    if len(known) < LEAST_GROUPS or not deviation:
        return Variation(deviation, freedom)
    return Variation(deviation, freedom, *_alike(known, deviation))


def _square(group: Sequence[float]) -> tuple[float, int]:
    """Return the variance of a group's logarithms (0 if it has no two values), and its freedom."""
    logs = np.log(np.asarray(group, dtype=np.float64))
    return (float(logs.var(ddof=1)), len(logs) - 1) if len(logs) > 1 else (0.0, 0)


def _alike(known: Sequence[tuple[float, int]], deviation: float) -> tuple[float, float]:
    """Return the deviation of a typical group, and its weight (see :class:`Variation`).

    Groups that vary alike have variances that scatter as chi-squared does.  What they scatter more
    tells the weight: moments of their logarithms, as in Smyth's section 6.2.
    """
    from scipy.special import polygamma, psi

    squares, halves = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
    halves /= 2
    floor = LEAST_SHARE * float(np.median(squares[squares > 0]))
    logs = np.log(np.maximum(squares, floor)) - psi(halves) + np.log(halves)
    more = float(logs.var(ddof=1) - polygamma(1, halves).mean())
    if more <= 0:
        return deviation, math.inf
    half = _inverse_trigamma(more)
    typical = math.exp(float(logs.mean() + psi(half)) - math.log(half))
    return math.sqrt(typical), max(2 * half, LEAST_WEIGHT)


def _inverse_trigamma(value: float) -> float:
    """Return the positive x whose trigamma is ``value``: Newton's method, which never overshoots.

    >>> round(_inverse_trigamma(1.6449340668482264), 9)
    1.0
    """
    from scipy.special import polygamma

    place = 0.5 + 1 / value
    for _ in range(50):
        there = float(polygamma(1, place))
        step = there * (1 - there / value) / float(polygamma(2, place))
        place += step
        if -step / place < 1e-10:
            break
    return place


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
def _student(freedom: float) -> float:
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
