"""The figures that the article states, and what follows from them by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...toolkit.fields import Fields, read_toml
from ...toolkit.files import package_path

ARTICLE = package_path("reports/article.toml")


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
    """The article: its date, its machine's cores, its variants, its table and its claims."""

    date: str
    cores: int
    variant: str
    half_variant: str
    rows: tuple[Row, ...]
    claims: Claims

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
    fields.only(("date", "cores", "variant", "half_variant", "row", "claims"))
    claims = fields.table("claims")
    claims.only(tuple(Claims.__dataclass_fields__))
    return Article(
        fields.word("date"),
        fields.whole("cores"),
        fields.word("variant"),
        fields.word("half_variant"),
        tuple(_row(entry) for entry in fields.tables("row")),
        Claims(**{key: claims.number(key) for key in Claims.__dataclass_fields__}),
    )


def _row(fields: Fields) -> Row:
    fields.only(tuple(Row.__dataclass_fields__))
    return Row(
        fields.whole("users"),
        fields.number("qps"),
        fields.number("p95_ms"),
        fields.number("cpu_percent"),
    )
