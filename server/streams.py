"""Streams: a few workers side by side and a bounded queue before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from .problems import RETRY, ProblemError

T = TypeVar("T")


class Streams:
    """Runs calls in ``count`` threads; at most ``queue_limit`` more may wait."""

    def __init__(self, count: int, queue_limit: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="stream")
        self._room = BoundedSemaphore(count + queue_limit)

    async def run(self, calls: Sequence[Callable[[], T]], until: float | None) -> list[T]:
        """Return the results in the order of ``calls``, or raise what the first failure raised.

        All calls find room or none is begun (a 503 problem).  At ``until`` (seconds on the loop's
        clock; None: never) calls that have not begun are dropped and a 504 problem is raised.
        """
        self._admit(len(calls))
        futures = [self._submit(call) for call in calls]
        try:
            async with asyncio.timeout_at(until):
                return [await asyncio.wrap_future(future) for future in futures]
        except TimeoutError:
            raise ProblemError(504, "the deadline passed before the answer was there") from None
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _admit(self, count: int) -> None:
        taken = 0
        while taken < count and self._room.acquire(blocking=False):
            taken += 1
        if taken == count:
            return
        if taken:
            self._room.release(taken)
        raise ProblemError(503, "the queue is full", RETRY)

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        future = self._executor.submit(call)
        # Called when the work is done or dropped, so a client that has its answer finds room.
        future.add_done_callback(lambda _: self._room.release())
        return future
