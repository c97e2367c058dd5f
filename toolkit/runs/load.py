"""Loads: how requests are sent (users or arrival rate, length, batch) and to how many cores."""

from __future__ import annotations

from dataclasses import dataclass

REFERENCE_STACK, ARTICLE_STACK, TARGET_STACK = "reference", "article", "target"
RAY_STACK = "ray"
CLOSED, OPEN = "closed", "open"

LoadOrder = tuple[int, float, int, int, int]


@dataclass(frozen=True)
class Load:
    """One load, in a closed loop (users) or an open one (rate).

    Args:
        users: concurrent users without think time; 0 in an open loop.
        rate: intended requests per second; None in a closed loop.
        tokens: length of every sentence, [CLS] and [SEP] included; None: the gold set's own.
        batch: sentences in a request.
        cores: number of cores the server is pinned to; None: all usable cores.

    """

    users: int
    rate: float | None = None
    tokens: int | None = None
    batch: int = 1
    cores: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests are sent at a fixed rate (open loop)."""
        return self.rate is not None

    @property
    def mode(self) -> str:
        """``closed`` or ``open``: the kind of loop."""
        return OPEN if self.is_open else CLOSED

    @property
    def plain(self) -> bool:
        """Whether this is a closed loop over the gold set, one sentence a request, all cores."""
        return not self.is_open and not self.shaped

    @property
    def shaped(self) -> bool:
        """Whether sentence length, batch or cores are not the usual ones."""
        return (self.tokens, self.batch, self.cores) != (None, 1, None)

    @property
    def order(self) -> LoadOrder:
        """The sort key of loads in tables."""
        return (self.users, self.rate or 0.0, self.tokens or 0, self.batch, self.cores or 0)

    def __str__(self) -> str:
        """Return a short description of the load."""
        words = [f"{self.users} users" if self.rate is None else f"{self.rate:g} requests/s"]
        words += [] if self.tokens is None else [f"{self.tokens} tokens"]
        words += [] if self.batch == 1 else [f"batches of {self.batch}"]
        words += [] if self.cores is None else [f"{self.cores} cores"]
        return ", ".join(words)
