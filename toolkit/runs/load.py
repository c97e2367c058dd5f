"""Loads: how a point was asked, whole: users or arrivals, sentence length, batch, cores."""

from __future__ import annotations

from dataclasses import dataclass

from .cell import Cell

REFERENCE_STACK, ARTICLE_STACK, TARGET_STACK = "reference", "article", "target"
RAY_STACK = "ray"

LoadKey = tuple[int, float, int, int, int]


@dataclass(frozen=True)
class Load:
    """One load; the fields mean what those of :class:`~tiankong.toolkit.runs.cell.Cell` mean."""

    users: int
    rate: float | None = None
    tokens: int | None = None
    batch: int = 1
    cores: int | None = None

    @classmethod
    def of(cls, cell: Cell) -> Load:
        """Return the load of a cell."""
        return cls(cell.users, cell.rate, cell.tokens, cell.batch, cell.cores)

    @property
    def is_open(self) -> bool:
        """Whether requests arrive at a rate of their own (open loop)."""
        return self.rate is not None

    @property
    def plain(self) -> bool:
        """Whether this is a closed loop over the gold set, one sentence a request, all cores."""
        return not self.is_open and not self.shaped

    @property
    def shaped(self) -> bool:
        """Whether sentence length, batch or cores are other than plain."""
        return (self.tokens, self.batch, self.cores) != (None, 1, None)

    @property
    def order(self) -> LoadKey:
        """What loads are sorted by in tables."""
        return (self.users, self.rate or 0.0, self.tokens or 0, self.batch, self.cores or 0)
