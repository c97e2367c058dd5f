"""Stops the work for a client that has left before its answer."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import Request

from .deadlines import Deadlines
from .problems import ProblemError

PATIENCE = 0.5  # seconds before the watch begins: most answers take less


class Presence:
    """Context manager: cancels its block with a 499 problem if the client leaves.

    It reads the messages after the request's body, so the body must have been read before.
    """

    def __init__(self, request: Request, deadlines: Deadlines) -> None:
        self._request = request
        self._deadlines = deadlines
        self._left = False
        self.over = False

    def __enter__(self) -> Presence:
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._deadlines.add(self._deadlines.loop.time() + PATIENCE, self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over = True
        if self._watcher:
            self._watcher.cancel()
        if self._left and self._task and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise ProblemError(499, "the client has left") from None

    def ring(self) -> None:
        """Begin to watch: the answer takes long."""
        self._watcher = self._deadlines.loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if self._task:
            self._task.cancel()
