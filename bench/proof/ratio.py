"""The text of a ratio, as tables show it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import geometric_mean

from ...toolkit.stats import interval, variation


def told(ratios: Sequence[float], digits: int = 3) -> str:
    """Return the geometric mean of the rounds' ratios, with its 95 % interval if it has one.

    >>> told([2.0])
    '2.000'
    """
    bounds = interval(ratios, variation([ratios]))
    shown = f" ({bounds[0]:.{digits}f}–{bounds[1]:.{digits}f})" if bounds else ""
    return f"{geometric_mean(ratios):.{digits}f}{shown}"
