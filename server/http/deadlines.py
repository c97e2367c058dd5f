"""Deadlines: what has not ended by then is told so, with one timer of the loop for all.

``asyncio.timeout_at`` arms a timer for each wait and cancels it again; nearly none of them rings.
"""

from __future__ import annotations

import asyncio
import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

FEW = 256  # entries that may lie in the queue though they are over
SLACK = 0.001  # seconds: the resolution of uvloop's timers


class Waiting(Protocol):
    """What has a deadline."""

    @property
    def over(self) -> bool:
        """Whether it has ended, so that its deadline does not matter any more."""

    def ring(self) -> None:
        """Be told that the deadline has passed; called in the loop's thread."""


class Deadlines:
    """The deadlines of what waits in one event loop; to be used in its thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._queue: list[tuple[float, int, Waiting]] = []
        self._number = count()  # so that equal times are never decided by comparing what waits
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._most = FEW

    def add(self, until: float, waiting: Waiting) -> None:
        """Ring at a time on the loop's clock, unless it is over by then."""
        queue = self._queue
        if len(queue) >= self._most:
            self._tidy()
        heappush(queue, (until, next(self._number), waiting))
        if until < self._rings_at:
            self._arm(until)

    def __len__(self) -> int:
        return len(self._queue)

    def _tidy(self) -> None:
        """Forget what is over; each entry pays for being looked at once or twice."""
        self._queue[:] = [entry for entry in self._queue if not entry[2].over]
        heapify(self._queue)
        self._most = max(FEW, 2 * len(self._queue))

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self.loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer, self._rings_at = None, math.inf
        queue, now = self._queue, self.loop.time() + SLACK
        while queue and (queue[0][2].over or queue[0][0] <= now):
            _, _, waiting = heappop(queue)
            if not waiting.over:
                waiting.ring()
        if queue and queue[0][0] < self._rings_at:  # ringing may have armed the timer already
            self._arm(queue[0][0])
