"""Closing a connection so that its client gets to read the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ...toolkit.files import MEBIBYTE

LINGER_LIMIT = 64 * MEBIBYTE  # the most bytes that are read and thrown away


class Lingering:
    """A client's transport that can be closed for writing first (``linger``).

    A connection that is closed while bytes of the client lie unread is reset, and a reset can take
    the answer with it before the client reads it.  So the answer and the end of our side are sent,
    and what the client still sends is thrown away until it has closed too.  Sources: RFC 9112, 9.6;
    nginx's ``lingering_close``.

    ``close`` is called by the answer's end; it is ``closer``, which decides between ``linger`` and
    ``end``.  Everything else but ``is_closing`` is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, closer: Callable[[], None]) -> None:
        self._transport = transport
        self.write = transport.write
        self.close = closer
        self.since: float | None = None  # when the wait for the client's end began
        self._thrown = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Tell whether nothing more can be sent."""
        return self.since is not None or self._transport.is_closing()

    def linger(self, now: float) -> None:
        """Close our side once all is sent; ``now`` is on the loop's clock."""
        self.since = now
        self._transport.write_eof()

    def end(self) -> None:
        """Close both sides."""
        self._transport.close()

    def throw_away(self, size: int) -> None:
        """Count bytes that are not read; close if they are too many."""
        self._thrown += size
        if self._thrown > LINGER_LIMIT:
            self.end()
