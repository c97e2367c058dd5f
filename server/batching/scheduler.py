"""The scheduler: a bounded queue, and streams (threads) that take jobs from it in batches.

A stream that becomes free takes the waiting jobs at once.  No job waits for others to fill a batch,
so a lone sentence is as fast as without batching; batches form while all streams are busy.
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
from typing import NamedTuple, cast

from ...toolkit.engines.predictor import Answer
from ...toolkit.engines.text import ceiling
from ..http.deadlines import Deadlines
from ..http.problems import QUEUE_FULL, RETRY, ProblemError

LOOK_AHEAD = 64  # jobs considered for a batch: sorting a long queue costs more than it gains


@dataclass(frozen=True)
class Limits:
    """Which jobs may run as one batch.

    Args:
        sentences: the most sentences in a batch.
        tokens: the most tokens in a batch of several sentences, padding apart.  Long sentences gain
            nothing from a batch, and each sentence waits for the whole batch.
        padded: the most tokens in a batch of several sentences, padding included.
        padding: how many tokens of padding each sentence after the first may add.
        multiple: each length is rounded up to a multiple of this, as the engine's padding does.

    """

    sentences: int = 16
    tokens: int = 256
    padded: int = 256
    padding: int = 8
    multiple: int = 1

    def width(self, job: Pending) -> int:
        """Return how many tokens a job takes in a batch of its own."""
        length = len(job.ids)
        return length if self.multiple == 1 else ceiling(length, self.multiple)


class BatchTimes(NamedTuple):
    """When a batch began, was computed, and was ranked, by ``time.perf_counter``."""

    began: float
    computed: float
    ranked: float


@dataclass(eq=False, slots=True)
class Pending:
    """A job: one sentence's token ids, ``top_k`` tokens for each [MASK], candidate tokens.

    ``arrived`` is the time of arrival, by ``time.perf_counter``; ``times`` are those of the batch
    that it was part of.  ``calls`` wait for it, all in the event loop ``loop``; ``ended`` is called
    there once it has its outcome, or was dropped because nobody waits any more.
    """

    ids: Sequence[int]
    top_k: int
    candidates: tuple[str, ...] | None = None
    arrived: float = field(default_factory=time.perf_counter)
    calls: list[Call] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None
    begun: bool = False
    outcome: Answer | Exception | None = None
    times: BatchTimes | None = None
    ended: Callable[[Pending], None] | None = None


class JoinedError(Exception):
    """The sentence could not be answered; its error, raised to who asked first, is the cause."""


class Call:
    """A number of jobs that one caller, in the running event loop, waits for.

    ``done`` is a future of that loop; the last answer or the first failure completes it.
    """

    def __init__(self, jobs: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self._left = jobs

    @property
    def over(self) -> bool:
        """Whether the caller no longer waits."""
        return self.done.done()

    def ring(self) -> None:
        """Fail the call: its deadline has passed."""
        self.done.set_exception(
            ProblemError(504, "the deadline passed before the answer was there")
        )

    def take(self, outcome: Answer | Exception | None) -> None:
        """Note the outcome of one job; to be called in the loop's thread."""
        self._left -= 1
        if self.done.done():
            return  # the caller no longer waits
        if isinstance(outcome, Exception):
            self.done.set_exception(outcome)
        elif not self._left:
            self.done.set_result(None)


Infer = Callable[[Sequence[Pending]], Sequence[Answer]]
"""Answers jobs, all with the same candidates, as one batch."""


def next_batch(waiting: Collection[Pending], idle: int, limits: Limits) -> list[Pending]:
    """Return the jobs to run next as one batch: the oldest one, and others near its length.

    Args:
        waiting: the queue, oldest first; not empty.
        idle: streams without work, the caller included: they share the waiting jobs.
        limits: which jobs may run as one batch.

    """
    first, *others = islice(waiting, LOOK_AHEAD)
    most = min(limits.sentences, -(-len(waiting) // idle))
    mates = [job for job in others if job.candidates == first.candidates]
    chosen, own = [first], limits.width(first)
    longest = padded_alone = own
    tokens = len(first.ids)
    for job in sorted(mates, key=lambda job: abs(limits.width(job) - own)):
        if len(chosen) >= most:
            break
        width, count = limits.width(job), len(chosen) + 1
        padded = max(longest, width) * count
        more = padded - padded_alone - width
        fits = tokens + len(job.ids) <= limits.tokens and padded <= limits.padded
        if fits and more <= limits.padding * len(chosen):
            chosen.append(job)
            longest, padded_alone = max(longest, width), padded_alone + width
            tokens += len(job.ids)
    return chosen


class Scheduler:
    """Runs jobs in ``streams`` threads; at most ``queue_limit`` further jobs may wait."""

    def __init__(self, infer: Infer, streams: int, queue_limit: int, limits: Limits) -> None:
        self._infer = infer
        self._limits = limits
        self._waiting: deque[Pending] = deque()
        self._idle = 0
        self._closed = False
        self._change = Condition()
        self._threads: list[Thread] = []
        self._room = queue_limit
        self._deadlines: Deadlines | None = None
        self.add_streams(streams)

    def add_streams(self, count: int) -> None:
        """Start ``count`` more streams."""
        with self._change:
            self._room += count
            names = range(len(self._threads), len(self._threads) + count)
            new = [Thread(target=self._stream, name=f"stream-{n}", daemon=True) for n in names]
            self._threads += new
        for thread in new:
            thread.start()

    async def run(
        self, jobs: Sequence[Pending], until: float | None, new: Sequence[Pending] | None = None
    ) -> list[Answer]:
        """Return the answers in the order of ``jobs``, or raise the first job's failure.

        ``new`` are those to be done (None: all); the others are in flight already, asked in this
        event loop, and are waited for too.  If the queue has no room for all new ones, none is
        begun (a 503 problem).  At ``until`` (seconds on the loop's clock; None: never) a 504
        problem is raised, and waiting jobs are dropped unless others wait for them too.
        """
        if not jobs:
            return []
        call = Call(len(jobs))
        for job in jobs:
            job.loop = call.loop
            job.calls.append(call)
        try:
            self._admit(jobs if new is None else new)
            if until is not None:
                self.deadlines.add(until, call)
            await call.done
        finally:
            self._leave(jobs, call)
        return [cast(Answer, job.outcome) for job in jobs]

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of the running loop."""
        loop, found = asyncio.get_running_loop(), self._deadlines
        if found is None or found.loop is not loop:
            found = self._deadlines = Deadlines(loop)
        return found

    @property
    def waiting(self) -> int:
        """How many jobs wait for a stream."""
        return len(self._waiting)

    @property
    def streams(self) -> int:
        """How many batches run at the same time."""
        return len(self._threads)

    @property
    def busy(self) -> int:
        """How many streams are at work."""
        return len(self._threads) - self._idle

    def set_limits(self, limits: Limits) -> None:
        """Use other limits from the next batch on."""
        self._limits = limits

    def require_room(self, jobs: int) -> None:
        """Raise a 503 problem if the queue has no room for this many more jobs."""
        if jobs > self._room or self._closed:
            raise ProblemError(503, "the queue is full", RETRY, QUEUE_FULL)

    def close(self) -> None:
        """Drop the waiting jobs, and wait until the running batches have ended."""
        with self._change:
            self._closed = True
            dropped = list(self._waiting)
            self._change.notify_all()
        for call in {call for job in dropped for call in job.calls}:
            _notify(call.loop, call.done.cancel)
        for thread in self._threads:
            thread.join()

    def _admit(self, jobs: Sequence[Pending]) -> None:
        with self._change:
            self.require_room(len(jobs))
            self._room -= len(jobs)
            self._waiting.extend(jobs)
            self._change.notify(len(jobs))

    def _leave(self, jobs: Sequence[Pending], call: Call) -> None:
        """Note that a caller no longer waits; drop what nobody waits for and has not begun."""
        alone: list[Pending] = []
        for job in jobs:
            if job.outcome is None and call in job.calls:
                job.calls.remove(call)
                if not job.calls:
                    alone.append(job)
        if all(job.begun for job in alone):
            return
        dropped: list[Pending] = []
        with self._change:
            for job in alone:
                if not job.begun:
                    dropped.append(job)
                    while job in self._waiting:  # never, if it found no room
                        self._waiting.remove(job)
                        self._room += 1
        for job in dropped:
            _end(job)

    def _stream(self) -> None:
        while batch := self._take():
            self._answer(batch)
            with self._change:  # before delivery: a client that has its answer finds room
                self._room += len(batch)
            _deliver(batch)

    def _take(self) -> list[Pending]:
        """Wait for jobs and return a batch, marked as begun; an empty list after ``close``."""
        begun: list[Pending] = []
        with self._change:
            self._idle += 1
            while not begun and not self._closed:
                if not self._waiting:
                    self._change.wait()
                    continue
                begun = next_batch(self._waiting, self._idle, self._limits)
                for job in begun:
                    self._waiting.remove(job)
                    job.begun = True
            self._idle -= 1
        return begun

    def _answer(self, batch: Sequence[Pending]) -> None:
        """Infer a batch and store each job's outcome."""
        outcomes: Iterable[Answer | Exception]
        try:
            outcomes = self._infer(batch)
        except Exception as error:  # whatever an engine raises
            if len(batch) > 1:  # one sentence may be the cause: ask each alone
                for job in batch:
                    self._answer([job])
                return
            outcomes = [error]
        for job, outcome in zip(batch, outcomes, strict=True):
            job.outcome = outcome


def _deliver(batch: Sequence[Pending]) -> None:
    """Notify the callers: one message per loop, because each message wakes the loop up."""
    for loop in {job.loop for job in batch if job.loop}:
        _notify(loop, partial(_settle, [job for job in batch if job.loop is loop]))


def _settle(jobs: Sequence[Pending]) -> None:
    for job in jobs:
        _end(job)
        outcome = job.outcome
        for number, call in enumerate(job.calls):
            if number and isinstance(outcome, Exception):
                # An exception keeps a traceback for each task that raises it: to each its own.
                joined = JoinedError("the same sentence failed for another caller")
                joined.__cause__ = outcome
                call.take(joined)
            else:
                call.take(outcome)


def _end(job: Pending) -> None:
    if job.ended is not None:
        job.ended(job)


def _notify(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # the loop has ended: no caller waits
        loop.call_soon_threadsafe(callback)
