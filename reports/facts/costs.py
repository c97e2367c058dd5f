"""What a million requests cost, if the priced machine's cores are as fast as the measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .prices import HOURS_PER_MONTH, Price

SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600


def per_million(monthly: float, qps: float) -> float:
    """Return the price of a million requests on a machine that serves ``qps`` all month.

    >>> round(per_million(700, 100), 4)  # 262.8 million requests a month
    2.6636
    """
    return monthly / (qps * SECONDS_PER_MONTH) * 1e6


@dataclass(frozen=True)
class MeasuredMachine:
    """The facts of the measured machine that a cost depends on."""

    cores: int
    architecture: str
    threads_per_core: int | None


@dataclass(frozen=True)
class Cost:
    """The cost of a million requests on a priced machine, in the price's currency."""

    price: Price
    per_million: float
    optimistic: bool


def cost(price: Price, qps: float, bench: MeasuredMachine) -> Cost | None:
    """Return the cost if ``qps`` was measured on ``bench``, scaled by cores to the priced machine.

    None if the measurement says nothing about that machine: it has an accelerator, another
    architecture, or an unknown number of vCPUs.  ``optimistic`` marks a cost that is too low: the
    priced vCPUs are hardware threads, but full cores were measured.
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
    """Return the prices that a verdict and a plot use: the first quoted one, and its list price.

    If no quoted price fits ``bench``, it is the first price that fits.  All are in one currency.
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
    """Return by how many percent a month is cheaper than on a machine with an accelerator.

    It is compared with the first such machine of the same kind, cloud and currency; None if there
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
