"""The scheduler: a bounded queue, and streams that take from it what is waiting, in batches.

A stream that becomes free takes at once what there is: nothing ever waits for company, so a lone
sentence is as fast as without batches, and batches form by themselves while all streams are busy.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from threading import Condition, Thread
from typing import cast

from ...toolkit.engines.predictor import Answer
from ...toolkit.engines.text import ceiling
from ..http.problems import QUEUE_FULL, RETRY, ProblemError

LOOK_AHEAD = 64  # jobs looked at for a batch: sorting a long queue would cost more than it gains


@dataclass(frozen=True)
class Limits:
    """What may run together.

    Args:
        sentences: the most in a batch.
        tokens: the most in a batch of several sentences, padding included: long ones gain nothing
            from company, and who is in a long batch waits for all of it.
        padding: how many tokens of padding each further sentence may bring with it.
        multiple: lengths count as the next multiple of this, to which all are padded anyway.

    """

    sentences: int = 8
    tokens: int = 256
    padding: int = 8
    multiple: int = 1

    def width(self, job: Pending) -> int:
        """Return how many tokens a job takes by itself."""
        return ceiling(len(job.ids), self.multiple)


@dataclass(eq=False)
class Pending:
    """One sentence to be answered: its token ids, how many tokens a [MASK], out of which tokens.

    ``arrived`` is when it did, by ``time.perf_counter``.
    """

    ids: Sequence[int]
    top_k: int
    candidates: tuple[str, ...] | None = None
    arrived: float = field(default_factory=time.perf_counter)
    call: Call | None = None
    begun: bool = False
    outcome: Answer | Exception | None = None


class Call:
    """So many jobs that are asked together, for a caller in the running loop.

    ``done`` is a future of that loop: the last answer, or the first failure, ends it.
    """

    def __init__(self, jobs: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self._left = jobs

    def take(self, outcome: Answer | Exception | None) -> None:
        """Take the outcome of one job; in the loop only."""
        self._left -= 1
        if self.done.done():
            return  # nobody waits any more
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        elif not self._left:
            self.done.set_result(None)


Infer = Callable[[Sequence[Pending]], Sequence[Answer]]
"""Answers jobs with the same candidates as one batch."""


def together(waiting: Collection[Pending], idle: int, limits: Limits) -> list[Pending]:
    """Return the jobs to run next as one batch: the oldest and those that go well with it.

    Args:
        waiting: the queue, oldest first; not empty.
        idle: streams without work, the asking one included: what waits is shared out among them.
        limits: what may run together.

    """
    first, *others = islice(waiting, LOOK_AHEAD)
    most = min(limits.sentences, -(-len(waiting) // idle))
    mates = [job for job in others if job.candidates == first.candidates]
    chosen, own = [first], limits.width(first)
    longest = tokens = own
    for job in sorted(mates, key=lambda job: abs(limits.width(job) - own)):
        if len(chosen) >= most:
            break
        width, count = limits.width(job), len(chosen) + 1
        whole = max(longest, width) * count
        if whole <= limits.tokens and whole - tokens - width <= limits.padding * len(chosen):
            chosen.append(job)
            longest, tokens = max(longest, width), tokens + width
    return chosen


class Scheduler:
    """Runs jobs in ``streams`` threads; at most ``queue_limit`` more may wait."""

    def __init__(self, infer: Infer, streams: int, queue_limit: int, limits: Limits) -> None:
        self._infer = infer
        self._limits = limits
        self._waiting: deque[Pending] = deque()
        self._idle = 0
        self._closed = False
        self._change = Condition()
        self._threads: list[Thread] = []
        self._room = queue_limit
        self.add_streams(streams)

    def add_streams(self, count: int) -> None:
        """Begin so many more streams."""
        with self._change:
            self._room += count
            names = range(len(self._threads), len(self._threads) + count)
            new = [Thread(target=self._stream, name=f"stream-{n}", daemon=True) for n in names]
            self._threads += new
        for thread in new:
            thread.start()

    async def run(self, jobs: Sequence[Pending], until: float | None) -> list[Answer]:
        """Return the answers in the order of ``jobs``, or raise what the first failure raised.

        All jobs find room or none is begun (a 503 problem).  At ``until`` (seconds on the loop's
        clock; None: never) jobs that have not begun are dropped and a 504 problem is raised.
        """
        if not jobs:
            return []
        call = Call(len(jobs))
        for job in jobs:
            job.call = call
        self._admit(jobs)
        try:
            async with asyncio.timeout_at(until):
                await call.done
        except TimeoutError:
            raise ProblemError(504, "the deadline passed before the answer was there") from None
        finally:
            self._drop(jobs)
        return [cast(Answer, job.outcome) for job in jobs]

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return len(self._waiting)

    @property
    def streams(self) -> int:
        """How many batches run at the same time."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """How many streams have work."""
        return len(self._threads) - self._idle

    def limit(self, limits: Limits) -> None:
        """Have the next batches keep to other limits."""
        self._limits = limits

    def require_room(self, jobs: int) -> None:
        """Raise a 503 problem unless so many more jobs would be admitted now."""
        if jobs > self._room or self._closed:
            raise ProblemError(503, "the queue is full", RETRY, QUEUE_FULL)

    def close(self) -> None:
        """Drop what has not begun and wait for the rest."""
        with self._change:
            self._closed = True
            dropped = list(self._waiting)
            self._change.notify_all()
        for call in {job.call for job in dropped if job.call}:
            _tell(call.loop, call.done.cancel)
        for thread in self._threads:
            thread.join()

    def _admit(self, jobs: Sequence[Pending]) -> None:
        with self._change:
            self.require_room(len(jobs))
            self._room -= len(jobs)
            self._waiting.extend(jobs)
            self._change.notify(len(jobs))

    def _drop(self, jobs: Sequence[Pending]) -> None:
        """Take out of the queue what has not begun."""
        if all(job.begun for job in jobs):
            return
        with self._change:
            for job in jobs:
                if not job.begun and job in self._waiting:
                    self._waiting.remove(job)
                    self._room += 1

    def _stream(self) -> None:
        while batch := self._take():
            self._answer(batch)
            with self._change:  # before the news: a client that has its answer finds room
                self._room += len(batch)
            _deliver(batch)

    def _take(self) -> list[Pending]:
        """Wait for work and return a batch of it, begun; an empty list at the end."""
        begun: list[Pending] = []
        with self._change:
            self._idle += 1
            while not begun and not self._closed:
                if not self._waiting:
                    self._change.wait()
                    continue
                begun = together(self._waiting, self._idle, self._limits)
                for job in begun:
                    self._waiting.remove(job)
                    job.begun = True
            self._idle -= 1
        return begun

    def _answer(self, batch: Sequence[Pending]) -> None:
        """Give every job of a batch its outcome."""
        outcomes: Iterable[Answer | Exception]
        try:
            outcomes = self._infer(batch)
        except Exception as error:  # whatever an engine raises
            if len(batch) > 1:  # it may be one sentence's fault: the others shall not suffer
                for job in batch:
                    self._answer([job])
                return
            outcomes = [error]
        for job, outcome in zip(batch, outcomes, strict=True):
            job.outcome = outcome


def _deliver(batch: Sequence[Pending]) -> None:
    """Tell the calls: one message a loop, however many sentences, for each wakes the loop up."""
    for loop in {job.call.loop for job in batch if job.call}:
        mine = [job for job in batch if job.call and job.call.loop is loop]
        _tell(loop, partial(_settle, mine))


def _settle(jobs: Sequence[Pending]) -> None:
    for job in jobs:
        if job.call:
            job.call.take(job.outcome)


def _tell(loop: asyncio.AbstractEventLoop, news: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop has ended: nobody waits any more
        loop.call_soon_threadsafe(news)
