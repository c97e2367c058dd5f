"""Percentiles and rates from raw latencies, with the sample sizes they need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Successes below which a percentile is not supported (binomial bound: with so many samples the
# chance that the true percentile lies above all of the upper ones stays under 5 % with margin).
SUPPORT = {50: 20, 90: 65, 95: 130, 99: 660}


def percentile(latencies: Sequence[float], rank: int, failures: int = 0) -> float | None:
    """Return the ``rank``-th percentile in the unit of ``latencies``, failures counted as infinite.

    None means "too few": fewer successes than :data:`SUPPORT` asks for.  The result is ``inf``
    where the percentile falls among the failures.

    >>> percentile([1.0] * 200, 95)
    1.0
    """
    if len(latencies) < SUPPORT[rank]:
        return None
    ordered = np.sort(np.asarray(latencies, dtype=np.float64))
    total = len(ordered) + failures
    place = int(np.ceil(total * rank / 100)) - 1  # nearest rank: an observed value, never between
    return float(ordered[place]) if place < len(ordered) else float("inf")
