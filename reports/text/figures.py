"""Numbers formatted for readers, the same in every language."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from ...toolkit.files import MEBIBYTE

MEGABYTE = 1_000_000
NONE = "–"  # printed where there is no value


def significant(value: float, digits: int = 3) -> str:
    """Return a number rounded to ``digits`` significant digits, never in exponent form.

    >>> significant(166.7), significant(62.34), significant(0.1408)
    ('167', '62.3', '0.141')
    """
    if math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞"
    rounded = float(f"{value:.{digits - 1}e}")
    if not rounded:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{decimals}f}" if decimals else f"{value:.0f}"


def commit(name: str) -> str:
    """Return a commit's first twelve digits, and whether files were changed since.

    >>> commit("0123456789abcdef+changed"), commit("0123456789abcdef")
    ('0123456789ab+changed', '0123456789ab')
    """
    digits, mark, changed = name.partition("+")
    return digits[:12] + mark + changed


def percent(value: float, decimals: int = 0) -> str:
    """Return a percentage (0..100) with the percent sign."""
    return f"{value:.{decimals}f} %"


def share(value: float | None) -> str:
    """Return a share (0..1) as a percentage with one decimal."""
    return NONE if value is None else percent(value * 100, 1)


def small(value: float | None) -> str:
    """Return a small number with two significant digits, in exponent form below a thousandth.

    >>> small(0.0712), small(1.573e-12), small(0.0), small(None)
    ('0.071', '1.6e-12', '0', '–')
    """
    if value is None:
        return NONE
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else significant(value, 2)


def unrounded(value: float) -> str:
    """Return a number from a quotation or a setting as it was written, without rounding.

    >>> unrounded(45.0), unrounded(0.5)
    ('45', '0.5')
    """
    return f"{value:.10g}"


def amount(value: float) -> str:
    """Return an amount of money with two decimals, halves away from zero (as on an invoice).

    >>> amount(0.0725 * 730)
    '52.93'
    """
    exact = Decimal(repr(round(value, 6)))  # the binary sum 52.92499... was meant as 52.925
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def monthly(currency: str, value: float) -> str:
    """Return a monthly price with its currency and two decimals.

    >>> monthly("CNY", 700)
    'CNY 700.00'
    """
    return f"{currency} {amount(value)}"


def megabytes(size: float) -> str:
    """Return bytes in MB (millions of bytes)."""
    return significant(size / MEGABYTE)


def mebibytes(size: float) -> str:
    """Return bytes in MiB."""
    return f"{size / MEBIBYTE:.0f}"


def levels(values: Iterable[float]) -> str:
    """Return the range that levels cover, unrounded; a single level alone; NONE without levels.

    >>> levels([4, 1, 16]), levels([2.5])
    ('1–16', '2.5')
    """
    known = sorted(values)
    ends = dict.fromkeys(unrounded(value) for value in (known[:1] + known[-1:]))
    return "–".join(ends) or NONE


def span(low: float, high: float) -> str:
    """Return a range."""
    return between(significant(low), significant(high))


def between(low: str, high: str) -> str:
    """Return a range of figures that are text already."""
    return f"{low}–{high}"
