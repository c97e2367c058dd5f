"""Identical sentences in flight at the same time are inferred once.

Who asks what is waiting or being inferred already waits for that job.  Its answer is the same to
the last bit: the key is what the engine gets.  (The idea is that of Go's ``singleflight``.  There
the first caller does the work, and all fail with it; here the scheduler's streams do, and a job
lives as long as one caller waits: see :meth:`.Scheduler.run`.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..http.metrics import Metrics
from .cache import Key, key_of
from .scheduler import Pending


class Flights:
    """The jobs in flight, by what they ask; to be used in one event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._flying: dict[Key, Pending] = {}
        self._joined = metrics.counter(
            "joined", "Sentences that were asked while the same one was in flight."
        )

    def __len__(self) -> int:
        return len(self._flying)

    def join(self, jobs: Sequence[Pending]) -> tuple[list[Pending], list[Pending]]:
        """Return for each job the one in flight that asks the same, and those that none does."""
        asked = [self._flying_as(job) for job in jobs]
        return asked, [job for job, own in zip(asked, jobs, strict=True) if job is own]

    def _flying_as(self, job: Pending) -> Pending:
        key = key_of(job)
        flying = self._flying.get(key)
        # One that has its outcome, but whose callers are not told yet, has been counted: ask anew.
        if flying is not None and flying.outcome is None and _is_here(flying):
            self._joined.inc()
            return flying
        self._flying[key] = job
        job.ended = self._land
        return job

    def _land(self, job: Pending) -> None:
        key = key_of(job)
        if self._flying.get(key) is job:  # not one that began after it
            del self._flying[key]


def _is_here(job: Pending) -> bool:
    return job.loop is None or job.loop is asyncio.get_running_loop()
