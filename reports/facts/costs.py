"""What a million requests cost, if the priced machine's cores are like the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .prices import HOURS_PER_MONTH, Price

SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600


def per_million(monthly: float, qps: float) -> float:
    """Return the price of a million requests on a machine busy at ``qps`` all month.

    >>> round(per_million(700, 100), 4)  # 262.8 million requests a month
    2.6636
    """
    return monthly / (qps * SECONDS_PER_MONTH) * 1e6


@dataclass(frozen=True)
class MeasuredMachine:
    """What of the measured machine decides a cost: usable cores, architecture, threads a core."""

    cores: int
    architecture: str
    threads_per_core: int | None


@dataclass(frozen=True)
class Cost:
    """A million requests on a priced machine, in the price's currency."""

    price: Price
    per_million: float
    optimistic: bool


def cost(price: Price, qps: float, bench: MeasuredMachine) -> Cost | None:
    """Return the cost of ``qps`` measured on ``bench``, scaled by cores to the priced machine.

    None where the measurement says nothing about that machine: it has an accelerator, another
    architecture, or an unknown number of vCPUs.  ``optimistic`` marks a price for hardware threads
    set against a measurement on whole cores.
    """
    if price.accelerator or price.vcpu is None or price.architecture != bench.architecture:
        return None
    scaled = qps / bench.cores * price.vcpu
    optimistic = (
        price.threads_per_core is not None
        and bench.threads_per_core is not None
        and bench.threads_per_core < price.threads_per_core
    )
    return Cost(price, per_million(price.monthly, scaled), optimistic)


def yardsticks(prices: Sequence[Price], bench: MeasuredMachine) -> tuple[Price, ...]:
    """Return the prices a verdict and a plot speak of: the first quoted one, and its list price.

    Without a quoted price that fits ``bench``, the first that fits; all in one currency.
    """
    fitting = [price for price in prices if cost(price, 1.0, bench)]
    quoted = [price for price in fitting if price.kind == "quoted"]
    if not quoted:
        return tuple(fitting[:1])
    first = quoted[0]
    listed = [
        price
        for price in fitting
        if price.kind != "quoted" and (price.name, price.currency) == (first.name, first.currency)
    ]
    return (first, *listed[:1])


def cheaper_percent(price: Price, prices: Sequence[Price]) -> float | None:
    """Return by how many percent a month costs less than a month with an accelerator.

    Compared with the first accelerated machine of the same kind, cloud and currency; None if there
    is none.
    """
    for other in prices:
        if other.accelerator and (other.kind, other.cloud, other.currency) == (
            price.kind,
            price.cloud,
            price.currency,
        ):
            return (1 - price.monthly / other.monthly) * 100
    return None
