"""Loads: how a server is asked, whole: users or arrivals, sentence length, batch, cores."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_STACK, ARTICLE_STACK, TARGET_STACK = "reference", "article", "target"
RAY_STACK = "ray"
CLOSED, OPEN = "closed", "open"

LoadOrder = tuple[int, float, int, int, int]


@dataclass(frozen=True)
class Load:
    """One load.

    Args:
        users: concurrent callers without think time; 0 in an open loop.
        rate: intended arrivals a second; None in a closed loop.
        tokens: length of every sentence with its specials; None: the gold set as it stands.
        batch: sentences in a request.
        cores: cores the server is pinned to; None: all that are usable.

    """

    users: int
    rate: float | None = None
    tokens: int | None = None
    batch: int = 1
    cores: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests arrive at a rate of their own (open loop)."""
        return self.rate is not None

    @property
    def mode(self) -> str:
        """Closed loop or open loop, in a word."""
        return OPEN if self.is_open else CLOSED

    @property
    def plain(self) -> bool:
        """Whether this is a closed loop over the gold set, one sentence a request, all cores."""
        return not self.is_open and not self.shaped

    @property
    def shaped(self) -> bool:
        """Whether sentence length, batch or cores are other than plain."""
        return (self.tokens, self.batch, self.cores) != (None, 1, None)

    @property
    def order(self) -> LoadOrder:
        """What loads are sorted by in tables."""
        return (self.users, self.rate or 0.0, self.tokens or 0, self.batch, self.cores or 0)

    def __str__(self) -> str:
        """Return the load in a few words."""
        words = [f"{self.users} users" if self.rate is None else f"{self.rate:g} requests/s"]
        words += [] if self.tokens is None else [f"{self.tokens} tokens"]
        words += [] if self.batch == 1 else [f"batches of {self.batch}"]
        words += [] if self.cores is None else [f"{self.cores} cores"]
        return ", ".join(words)
