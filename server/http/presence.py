"""Whether a client still waits for its answer: what is done for one that has left is dropped."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import Request

from .problems import ProblemError

PATIENCE = 0.5  # seconds until somebody looks: most answers are there before


class Presence:
    """Async context: a client that leaves ends what is awaited in it with a 499 problem.

    What comes after the body of a request is read meanwhile, so it has to be read already.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._left = False

    async def __aenter__(self) -> Presence:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._look: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(PATIENCE, self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._look:
            self._look.cancel()
        if self._left and self._task and kind is asyncio.CancelledError:
            self._task.uncancel()
            raise ProblemError(499, "the client has left") from None

    def _begin(self) -> None:
        self._look = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if self._task:
            self._task.cancel()
