"""The cost model: from a capacity and a price to instances, a month, a million requests.

Pure functions; docs/costs.md has the formulas and where they come from.  The explorer on the page
computes the same (``templates/explorer.js``); a test holds the two to each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .prices import GIVEN, HOURS_PER_MONTH, Price

SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
ROUNDING = 1e-9  # relative: a load of exactly three instances' capacity needs three
FARTHEST = 10_000  # beyond this a break-even is no decision of one service any more


@dataclass(frozen=True)
class MeasuredMachine:
    """The facts of the measured machine that a cost depends on."""

    cores: int
    architecture: str
    threads_per_core: int | None


@dataclass(frozen=True)
class Range:
    """A figure with the lowest and the highest it may be."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> Range:
        """Return the range multiplied by a factor of at least 0."""
        return Range(self.value * factor, self.low * factor, self.high * factor)

    def overlaps(self, other: Range) -> bool:
        """Tell whether the two ranges have a value in common."""
        return self.low <= other.high and other.low <= self.high


def fits(price: Price, bench: MeasuredMachine) -> bool:
    """Tell whether what was measured on ``bench`` says anything about the priced machine.

    It does not if that has an accelerator, another architecture, or an unknown number of vCPUs.
    """
    return (
        price.accelerator is None
        and price.vcpu is not None
        and price.architecture == bench.architecture
    )


def threads_ratio(price: Price, bench: MeasuredMachine) -> float:
    """Return hardware threads a core of the measured machine over those of the priced one.

    1 where the priced machine's are unknown.  Where the measured machine's are unknown it is
    taken for one of whole cores: that is the case in which the priced machine may be slower.
    """
    if price.threads_per_core is None:
        return 1.0
    return (bench.threads_per_core or 1) / price.threads_per_core


def instance_capacity(measured: Range, price: Price, bench: MeasuredMachine) -> Range:
    """Return requests a second of one priced instance, from those of the measured machine.

    The figure is scaled by vCPUs: measured for each CPU, times the priced machine's vCPUs.  Where
    a vCPU is a hardware thread but whole cores were measured, the low end assumes that the second
    thread of a core adds nothing (so a vCPU is half a core); where threads were measured but whole
    cores are priced, the high end assumes the same.  The price must fit (:func:`fits`).
    """
    assert price.vcpu is not None
    scale, ratio = price.vcpu / bench.cores, threads_ratio(price, bench)
    return Range(
        measured.value * scale,
        measured.low * scale * min(1.0, ratio),
        measured.high * scale * max(1.0, ratio),
    )


def usable(capacity: float, headroom: float) -> float:
    """Return the requests a second that an instance is planned for.

    >>> round(usable(100.0, 0.3), 9)
    70.0
    """
    return capacity * (1 - headroom)


def instances(load: float, each: float, least: int) -> int:
    """Return how many instances a load needs if each is planned for ``each`` requests a second.

    >>> instances(300, 70, 2), instances(10, 70, 2), instances(210, 70, 1)
    (5, 2, 3)
    """
    if load <= 0:
        return least
    return max(least, math.ceil(load / each * (1 - ROUNDING)))


def instances_range(load: float, each: Range, least: int) -> tuple[int, int, int]:
    """Return the number of instances at the capacity itself, at its high end, at its low end."""
    return (
        instances(load, each.value, least),
        instances(load, each.high, least),
        instances(load, each.low, least),
    )


def per_million(monthly: float, qps: float) -> float:
    """Return the price of a million requests if ``qps`` are served all month.

    >>> round(per_million(700, 100), 4)  # 262.8 million requests a month
    2.6636
    """
    return monthly / (qps * SECONDS_PER_MONTH) * 1e6


@dataclass(frozen=True)
class Offer:
    """One kind of instance: what it costs a month, what it is planned for in requests a second."""

    monthly: float
    each: float

    def month(self, load: float, least: int) -> float:
        """Return what a load costs a month with at least ``least`` instances."""
        return instances(load, self.each, least) * self.monthly


def break_even(one: Offer, other: Offer, least: int = 1) -> float | None:
    """Return the load above which ``other`` first costs less than ``one``; None if it never does.

    Costs are steps, so above this load ``one`` may be cheaper again for a while.

    >>> break_even(Offer(700.0, 70.0), Offer(3500.0, 600.0))
    350.0
    """
    if other.month(0.0, least) < one.month(0.0, least):
        return 0.0
    for count in range(least, FARTHEST):  # only a step of ``one`` can be the first time
        load = count * one.each  # just above it, one instance more is needed
        above = load * (1 + 2 * ROUNDING)
        if other.month(above, least) < one.month(above, least):
            return load
    return None


def bound_without_speed(one: Offer, monthly: float, least: int = 1) -> float:
    """Return the load up to which ``one`` costs no more than a machine of any speed.

    A single such machine costs ``monthly``, so below this load no speed pays; above it, that
    machine pays only if it answers more than this load itself.

    >>> bound_without_speed(Offer(700.0, 70.0), 3500.0)
    350.0
    """
    affordable = math.floor(monthly * least / one.monthly * (1 + ROUNDING))
    return affordable * one.each if affordable >= least else 0.0


@dataclass(frozen=True)
class Cost:
    """The cost of a million requests on a priced machine that is always busy, in its currency."""

    price: Price
    per_million: float
    optimistic: bool


def cost(price: Price, qps: float, bench: MeasuredMachine) -> Cost | None:
    """Return the cost if ``qps`` was measured on ``bench``, scaled by vCPUs to the priced machine.

    None if the measurement says nothing about that machine (:func:`fits`).  ``optimistic`` marks a
    cost that is too low: the priced vCPUs are hardware threads, but whole cores were measured.
    """
    if not fits(price, bench):
        return None
    scaled = instance_capacity(Range(qps, qps, qps), price, bench)
    optimistic = bench.threads_per_core is not None and scaled.low < scaled.value
    return Cost(price, per_million(price.monthly, scaled.value), optimistic)


def yardsticks(prices: Sequence[Price], chosen: Price | None) -> tuple[Price, ...]:
    """Return the prices that pictures show: the question's, and the list price of that machine."""
    if chosen is None:
        return ()
    listed = (
        price
        for price in prices
        if price.kind != chosen.kind
        and (price.name, price.currency) == (chosen.name, chosen.currency)
    )
    return (chosen, *tuple(listed)[:1])


def accelerators(prices: Sequence[Price], currency: str) -> list[Price]:
    """Return the prices of machines with an accelerator in a currency."""
    return [price for price in prices if price.accelerator and price.currency == currency]


def accelerated(price: Price, prices: Sequence[Price]) -> Price | None:
    """Return the first price of a machine with an accelerator of a price's kind, cloud, currency.

    A price that the reader gave is compared with those of any kind.
    """
    same = [other for other in accelerators(prices, price.currency) if other.cloud == price.cloud]
    of_kind = [other for other in same if other.kind == price.kind]
    return next(iter(of_kind or (same if price.kind == GIVEN else [])), None)
