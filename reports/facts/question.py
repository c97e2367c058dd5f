"""The question a report answers: which load within which objective, on which machine's price."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...toolkit.errors import UnusableInputError
from ...toolkit.runs.slo import parse_slo
from .costs import MeasuredMachine, accelerators, fits
from .prices import GIVEN, Price, Source

RANK = 95  # the percentile of the article's table
HEADROOM = 0.30  # of an instance's capacity, kept free for peaks and for an instance that is lost
UTILISATION = 0.50  # mean load of a month over the load planned for
INSTANCES = 1
MOST_HEADROOM = 0.95
MOST = 1e9  # of a load, of a price: beyond it lies a typing error
MOST_INSTANCES = 1_000_000
LEAST_UTILISATION = 0.01
READER = Source("reader", "the reader's own figure")


@dataclass(frozen=True)
class Wishes:
    """What the reader says of the question; what is left out has a default.

    ``slo`` is like ``p95=100ms``, ``load`` in requests a second, ``headroom`` and ``utilisation``
    are shares, ``price`` is a machine of the price file, ``ecs.c6.large``, with ``/second-hand``
    behind it to name the kind, ``@cn-guangzhou`` to name the region, or ``=500`` for a month's
    price of the reader's own.  ``gpu_price`` names a machine with an accelerator in the same way.
    ``without`` are variants that are no answer to the reader.
    """

    slo: str = ""
    load: float | None = None
    headroom: float | None = None
    utilisation: float | None = None
    instances: int | None = None
    price: str = ""
    gpu_price: str = ""
    without: tuple[str, ...] = ()


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Question:
    """A complete question.

    Args:
        rank: which percentile has to stay at or under ``limit_ms``.
        limit_ms: the objective, in milliseconds.
        load: requests a second that all instances together have to answer; None: as many as one
            instance of the answer carries.
        headroom: share of an instance's capacity that stays free.
        utilisation: mean load of a month over ``load``; a month's requests follow from it.
        instances: the least number of instances, for availability.
        price: what an instance costs; None if no price fits the measured machine.
        gpu_price: the machine with an accelerator to compare with; None: a comparable one.
        without: variants that the reader leaves out of the answer.
        stated: the fields that the reader gave; the others are defaults.

    """

    rank: int
    limit_ms: float
    load: float | None
    headroom: float
    utilisation: float
    instances: int
    price: Price | None
    gpu_price: Price | None = None
    without: tuple[str, ...] = ()
    stated: frozenset[str] = frozenset()


def question(
    wishes: Wishes, limit_ms: float, prices: Sequence[Price], bench: MeasuredMachine
) -> Question:
    """Return the question with its defaults; ``limit_ms`` is the default objective's.

    The default price is the first quoted one that fits the measured machine, else the first that
    fits.  Raises UnusableInputError for a wish that is not one.
    """
    rank, limit = _objective(wishes.slo) if wishes.slo else (RANK, limit_ms)
    given = {
        name for name in Wishes.__dataclass_fields__ if getattr(wishes, name) not in ("", None, ())
    }
    price = (
        find_price(wishes.price, prices, bench) if wishes.price else default_price(prices, bench)
    )
    return Question(
        rank,
        limit,
        _load(wishes.load),
        _share("--headroom", wishes.headroom, HEADROOM, 0.0, MOST_HEADROOM),
        _share("--utilisation", wishes.utilisation, UTILISATION, LEAST_UTILISATION, 1.0),
        _instances(wishes.instances),
        price,
        _gpu_price(wishes.gpu_price, prices, price) if wishes.gpu_price else None,
        wishes.without,
        frozenset(given),
    )


def default_price(prices: Sequence[Price], bench: MeasuredMachine) -> Price | None:
    """Return the first quoted price that fits the measured machine, else the first that fits."""
    fitting = [price for price in prices if fits(price, bench)]
    quoted = (price for price in fitting if price.kind == "quoted")
    return next(quoted, fitting[0] if fitting else None)


def find_price(text: str, prices: Sequence[Price], bench: MeasuredMachine) -> Price:
    """Return the price that a text names (see :class:`Wishes`); raise UnusableInputError if none.

    Of several kinds of one machine it is the first in the file.
    """
    fitting = [price for price in prices if fits(price, bench)]
    if _named(text, prices) and not _named(text, fitting):
        raise UnusableInputError(
            f"--price {text!r}: what was measured here says nothing of that machine (it has an"
            " accelerator, another architecture, or an unknown number of vCPUs)"
        )
    return _chosen("--price", text, fitting)


def price_key(price: Price, prices: Sequence[Price]) -> str:
    """Return the shortest text that names a price first among others; "" if none does."""
    short, full = (price.type, price.name)
    kinds = (short, f"{short}/{price.kind}", full, f"{full}/{price.kind}")
    for text in (*kinds, *(f"{text}@{price.region}" for text in kinds)):
        # A type may look like a kind or an amount.
        if "=" not in text and (named := _named(text, prices)) and named[0] is price:
            return text
    return ""


def _gpu_price(text: str, prices: Sequence[Price], beside: Price | None) -> Price:
    """Return the price of a machine with an accelerator in the currency of another price."""
    able = [price for price in prices if price.accelerator]
    if beside is not None:
        able = accelerators(prices, beside.currency)
    return _chosen("--gpu-price", text, able)


def _chosen(option: str, text: str, prices: Sequence[Price]) -> Price:
    """Return the first price that a text names, with the amount in it."""
    named = _named(text, prices)
    if not named:
        keys = ", ".join(filter(None, (price_key(price, prices) for price in prices)))
        raise UnusableInputError(
            f"{option} {text!r} is in no price file; known: {keys or 'none that fits'}"
        )
    _, has_amount, amount = text.partition("=")
    return _with_amount(named[0], _monthly(option, amount, text) if has_amount else None)


def _named(text: str, prices: Sequence[Price]) -> list[Price]:
    """Return the prices that a text names, in their order."""
    name, _, _ = text.partition("=")
    name, _, region = name.partition("@")
    wanted, _, kind = name.rpartition("/") if "/" in name else (name, "", "")
    wanted, kind, region = wanted.strip().casefold(), kind.strip(), region.strip()
    return [
        price
        for price in prices
        if wanted in (price.type.casefold(), price.name.casefold())
        and kind in ("", price.kind)
        and region in ("", price.region)
    ]


def _with_amount(price: Price, amount: float | None) -> Price:
    if amount is None:
        return price
    return replace(price, kind=GIVEN, per_month=amount, per_hour=None, source=READER)


def _monthly(option: str, amount: str, text: str) -> float:
    try:
        monthly = float(amount)
    except ValueError:
        monthly = math.nan
    if not 0 < monthly <= MOST:
        raise UnusableInputError(f"{option} {text!r}: write a month's price, like ecs.c6.large=500")
    return monthly


def _objective(text: str) -> tuple[int, float]:
    limits = parse_slo(text).limits_ms
    if len(limits) > 1:
        raise UnusableInputError(f"--slo {text!r}: a report has one objective, like p95=100ms")
    return limits[0]


def _load(load: float | None) -> float | None:
    if load is not None and not 0 <= load <= MOST:
        raise UnusableInputError(f"--load {load!r}: give requests a second, from 0 to {MOST:,.0f}")
    return load


def _share(option: str, value: float | None, default: float, least: float, most: float) -> float:
    if value is None:
        return default
    if not least <= value <= most:
        raise UnusableInputError(f"{option}: give a share from {least:.0%} to {most:.0%}")
    return value


def _instances(least: int | None) -> int:
    if least is not None and not 1 <= least <= MOST_INSTANCES:
        raise UnusableInputError(f"--instances: give a number from 1 to {MOST_INSTANCES:,}")
    return INSTANCES if least is None else least
