"""The figures that the article states, what follows from them, and when one counts as reproduced.

A figure is *reproduced* if ours is within ``TOLERANCE`` of it or the interval of ours contains it,
a limit ("under 50 ms") if ours keeps it.  It *contradicts itself* if the article's other figures
exclude it, whatever was measured here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...toolkit.fields import Fields, read_toml
from ...toolkit.files import package_path
from .estimates import Estimate
from .prices import Price, read_prices

ARTICLE = package_path("reports/article.toml")
SOURCE = "article"  # of the prices in prices.toml that the article names
TOLERANCE = 0.10
REPRODUCED, NOT_REPRODUCED = "reproduced", "not-reproduced"
CONTRADICTORY, NOT_MEASURED = "contradicts-itself", "not-measured"


def judge(claimed: float, *ours: Estimate | None) -> str:
    """Return the verdict on a figure by what was measured here.

    Several estimates are those of the nearest loads below and above the one in question: they give
    a verdict only if they agree, and lie on the same side of a figure that is not reproduced.

    >>> judge(100, Estimate(109)), judge(100, Estimate(120, 98, 147)), judge(100, Estimate(120))
    ('reproduced', 'reproduced', 'not-reproduced')
    >>> judge(100, Estimate(50), Estimate(200)), judge(100, None)
    ('not-measured', 'not-measured')
    """
    known = [estimate for estimate in ours if estimate is not None]
    if not known or len(known) < len(ours):
        return NOT_MEASURED
    verdicts = {_agrees(claimed, estimate) for estimate in known}
    if verdicts == {True}:
        return REPRODUCED
    sides = {estimate.value > claimed for estimate in known}
    return NOT_REPRODUCED if verdicts == {False} and len(sides) == 1 else NOT_MEASURED


def _agrees(claimed: float, ours: Estimate) -> bool:
    ends = ours.ends
    covered = ends is not None and ends[0] <= claimed <= ends[1]
    return covered or abs(ours.value - claimed) <= TOLERANCE * claimed * (1 + 1e-9)


@dataclass(frozen=True)
class Row:
    """One line of the article's table; CPU is percent of its whole machine."""

    users: int
    qps: float
    p95_ms: float
    cpu_percent: float

    @property
    def mean_ms(self) -> float:
        """The mean latency that follows for a closed loop without think time (Little's law)."""
        return self.users / self.qps * 1000

    @property
    def plausible(self) -> bool:
        """Whether this mean latency is at most the P95."""
        return self.mean_ms <= self.p95_ms

    @property
    def tail_ms(self) -> float:
        """The least mean latency of the slowest 5 % with which mean and P95 can both be true."""
        return (self.mean_ms - 0.95 * self.p95_ms) / 0.05


@dataclass(frozen=True)
class Claims:
    """The article's figures outside its table; MB are millions of bytes."""

    image_mb: float
    full_file_mb: float
    half_file_mb: float
    average_ms_below: float
    distilbert_mb: float
    distilbert_ms: float
    cheaper_percent_over: float


@dataclass(frozen=True)
class Article:
    """The article: its date, machine, model's geometry, variants, table, claims and prices."""

    date: str
    cores: int
    layers: int
    hidden: int
    variant: str
    half_variant: str
    rows: tuple[Row, ...]
    claims: Claims
    prices: tuple[Price, ...]

    def is_of(self, model: Mapping[str, Any]) -> bool:
        """Tell whether a model has the geometry of the article's; others are not compared."""
        return (model.get("layers"), model.get("hidden")) == (self.layers, self.hidden)

    @property
    def slowest_p95_ms(self) -> float:
        """The highest P95 in the article's table: the limit it accepts."""
        return max(row.p95_ms for row in self.rows)

    @property
    def implausible(self) -> tuple[Row, ...]:
        """Rows whose mean in a closed loop would lie above their P95."""
        return tuple(row for row in self.rows if not row.plausible)


def read_article(path: Path = ARTICLE) -> Article:
    """Return the article's figures; raise UnusableInputError if the file is broken."""
    fields = Fields(read_toml(path), f"article {path.name}")
    fields.only(("date", "cores", "layers", "hidden", "variant", "half_variant", "row", "claims"))
    claims = fields.table("claims")
    claims.only(tuple(Claims.__dataclass_fields__))
    return Article(
        fields.word("date"),
        fields.whole("cores"),
        fields.whole("layers"),
        fields.whole("hidden"),
        fields.word("variant"),
        fields.word("half_variant"),
        tuple(_row(entry) for entry in fields.tables("row")),
        Claims(**{key: claims.number(key) for key in Claims.__dataclass_fields__}),
        tuple(price for price in read_prices() if price.source.key == SOURCE),
    )


def _row(fields: Fields) -> Row:
    fields.only(tuple(Row.__dataclass_fields__))
    return Row(
        fields.whole("users"),
        fields.number("qps"),
        fields.number("p95_ms"),
        fields.number("cpu_percent"),
    )
