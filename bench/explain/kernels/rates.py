"""How many calls a second are made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .multiplication import Call

T = TypeVar("T")


def calls_per_second(
    calls: Sequence[Call], seconds: float, prepare: Callable[[], None] = lambda: None
) -> float:
    """Return how many calls a second are made in total, each call repeated in its own thread.

    A single call is repeated in this thread.  Every thread makes one call before the clock starts.
    """
    return sum(side_by_side(calls, lambda call: _repeat(call, seconds), prepare))


def side_by_side(
    calls: Sequence[Call], work: Callable[[Call], T], prepare: Callable[[], None] = lambda: None
) -> list[T]:
    """Return what ``work`` says of each call, all of them at once, each in its own thread.

    A single call is worked on in this thread.  Every thread makes one call before all begin.
    """
    if len(calls) == 1:
        prepare()
        calls[0]()
        return [work(calls[0])]
    ready = threading.Barrier(len(calls))

    def begin(call: Call) -> T:
        try:
            prepare()
            call()
        except BaseException:
            ready.abort()  # otherwise the other threads would wait for ever
            raise
        ready.wait()
        return work(call)

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(begin, call) for call in calls]
    errors = [error for each in futures if (error := each.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [each.result() for each in futures]


def _repeat(call: Call, seconds: float) -> float:
    begun, count = time.perf_counter(), 0
    while True:
        call()
        count += 1
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return count / passed


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds one call takes."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000
