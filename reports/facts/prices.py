"""Prices of machines: quoted prices and list prices, each with its source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ...toolkit.errors import UnusableInputError
from ...toolkit.fields import Fields, read_toml
from ...toolkit.files import package_path

PRICES = package_path("reports/prices.toml")
HOURS_PER_MONTH = 730  # 8760 hours a year over 12: arithmetic, not a monthly offer
KINDS = ("quoted", "second-hand")
GIVEN = "given"  # a price that the reader names; no file has this kind
ARCHITECTURES = ("x86_64", "aarch64")
CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class Source:
    """Where a price comes from; ``date`` is None if the source has no date."""

    key: str
    title: str
    date: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Price:
    """One machine's price; exactly one of ``per_hour`` and ``per_month`` is known.

    ``threads_per_core`` tells what a vCPU of this type is: 2 for a hardware thread, 1 for a core.
    """

    cloud: str
    type: str
    kind: str
    currency: str
    source: Source
    per_hour: float | None = None
    per_month: float | None = None
    vcpu: int | None = None
    memory_gib: float | None = None
    region: str | None = None
    architecture: str | None = None
    threads_per_core: int | None = None
    accelerator: str | None = None

    @property
    def monthly(self) -> float:
        """The price of a month in ``currency``: as given, or the hour's times HOURS_PER_MONTH."""
        if self.per_month is not None:
            return self.per_month
        assert self.per_hour is not None
        return self.per_hour * HOURS_PER_MONTH

    @property
    def name(self) -> str:
        """Cloud and type, by which a reader can find the machine."""
        return f"{self.cloud} {self.type}"


def read_prices(path: Path = PRICES) -> tuple[Price, ...]:
    """Return the prices of a file in its order.

    Raises UnusableInputError naming an entry that is broken, unknown or there twice.
    """
    contents = Fields(read_toml(path), f"prices {path.name}")
    contents.only(("sources", "price"))
    table = contents.table("sources")
    sources = {key: _source(key, table.table(key)) for key in table.data}
    prices = tuple(_price(entry, sources) for entry in contents.tables("price"))
    seen: set[tuple[str | None, ...]] = set()
    for price in prices:
        identity = (price.cloud, price.type, price.region, price.kind, price.currency)
        if identity in seen:
            raise UnusableInputError(
                f"{contents.origin}: {price.name} ({price.kind}) is there twice"
            )
        seen.add(identity)
    return prices


def _source(key: str, fields: Fields) -> Source:
    fields.only(("title", "date", "note"))
    return Source(
        key, fields.word("title"), fields.optional_word("date"), fields.optional_word("note")
    )


def _price(fields: Fields, sources: dict[str, Source]) -> Price:
    fields.only(tuple(Price.__dataclass_fields__))
    source = _choice(fields, "source", tuple(sources))
    if not CURRENCY.fullmatch(currency := fields.word("currency")):
        raise UnusableInputError(f"{fields.origin}: currency {currency!r} is not like 'CNY'")
    if ("per_hour" in fields.data) == ("per_month" in fields.data):
        raise UnusableInputError(f"{fields.origin}: give either 'per_hour' or 'per_month'")
    return Price(
        cloud=fields.word("cloud"),
        type=fields.word("type"),
        kind=_choice(fields, "kind", KINDS),
        currency=currency,
        source=sources[source],
        per_hour=fields.optional_number("per_hour"),
        per_month=fields.optional_number("per_month"),
        vcpu=fields.optional_whole("vcpu"),
        memory_gib=fields.optional_number("memory_gib"),
        region=fields.optional_word("region"),
        architecture=(
            _choice(fields, "architecture", ARCHITECTURES)
            if "architecture" in fields.data
            else None
        ),
        threads_per_core=fields.optional_whole("threads_per_core"),
        accelerator=fields.optional_word("accelerator"),
    )


def _choice(fields: Fields, key: str, known: tuple[str, ...]) -> str:
    value = fields.word(key)
    if value not in known:
        raise UnusableInputError(
            f"{fields.origin}: unknown {key} {value!r}; known: {', '.join(known)}"
        )
    return value
