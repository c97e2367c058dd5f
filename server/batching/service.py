"""The service behind the routes: asks the predictor and tracks whether it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from threading import Thread

from starlette.requests import Request

from ...toolkit.engines.kinds import Expected
from ...toolkit.engines.predictor import Answer, Engine, Predictor
from ...toolkit.engines.prepared import recall, remember
from ...toolkit.engines.text import LONG, NoMaskError, TextError, ceiling
from ...toolkit.errors import BrokenVariantError, TiankongError
from ...toolkit.machine import usable_cores
from ...toolkit.models.tokens import MASK
from ..http.bodies import Question
from ..http.deadlines import Deadlines
from ..http.metrics import Metrics
from ..http.problems import DRAINING, NOT_READY, RETRY, ProblemError
from ..http.stages import Stopwatch
from ..settings import Settings
from .cache import AnswerCache
from .flights import Flights
from .scheduler import BatchTimes, Limits, Pending, Scheduler
from .streams import choose

WARM_UP = f"今天天气很{MASK}。"
WARM_UP_DELTA = 0.05  # of a probability: kernels of other machines round differently
PREPARED_TOKENS = (16, 24, 32)
PREPARING_SECONDS = 0.6
UNPADDED = 1024  # tokens of a batch, padding included, where only attention computes padding
MANY = 1_000_000  # concurrent calls: more than there ever are, so no limit


def unpads(predictor: Predictor, streams: int) -> bool:
    """Tell whether batches skip padding: only those that leave cores to other batches do."""
    about = predictor.engine.about
    return about.unpads and (streams > 1 or max(about.widths, default=1) == 1)


def limits_of(predictor: Predictor, settings: Settings, streams: int) -> Limits:
    """Return the limits of a batch under which each answer is that of the sentence alone."""
    if predictor.mates == "none":
        return Limits(sentences=1)
    limits = Limits(settings.max_batch, multiple=predictor.pad_to)
    if predictor.mates == "same length":
        return replace(limits, padding=0)
    if unpads(predictor, streams):
        return replace(limits, padded=UNPADDED, padding=UNPADDED)
    return limits


class Service:
    """Answers questions with one predictor, within the settings' limits.

    ``not_ready`` says why the service is not ready, ``failure`` what the warm-up raised; both are
    empty when all is well.
    """

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.settings = settings
        self.variant = predictor.name
        self.not_ready = "the server is warming up"
        self.failure = ""
        self.draining = False
        self._predictor = predictor
        # A batch that waits inside the engine can no longer grow, so no more streams than it has.
        self._most = min(settings.streams or usable_cores(), predictor.engine.about.callers or MANY)
        streams = self._most if settings.streams else 1
        self._limits = limits_of(predictor, settings, streams)
        self._scheduler = Scheduler(self._infer, streams, settings.queue_limit, self._limits)
        self.metrics = Metrics(settings.deadline)
        self.metrics.watch(
            "queue_length", "Sentences that wait for a stream.", lambda: self.waiting
        )
        self.metrics.watch("streams_busy", "Streams at work.", lambda: self._scheduler.busy)
        self._cache = AnswerCache(settings.cache, self.metrics) if settings.cache else None
        self._flights = Flights(self.metrics) if settings.join else None

    async def warm_up(self) -> None:
        """Ask one sentence, prepare the engine, and become ready.

        If the gate has examined the variant, the answer must be the one that the gate saw.
        """
        expected = self._predictor.expected
        text = expected.text if expected else WARM_UP
        try:
            [answer] = await self._scheduler.run(list(self._jobs(Question((text,)))), until=None)
            if expected:
                _require_expected(expected, answer)
                await self._require_parts(expected)
            await asyncio.to_thread(self._prepare)
        except Exception as error:  # whatever an engine raises
            self.not_ready = "the warm-up failed"
            # For the operator only: clients do not see it.
            self.failure = str(error) if isinstance(error, TiankongError) else repr(error)
        else:
            self.metrics.tell(self.variant, self.in_force())
            self.not_ready = "the server is draining" if self.draining else ""

    async def _require_parts(self, expected: Expected) -> None:
        parts = self._predictor.engine.about.parts
        if len(parts) > 1:  # the warm-up has asked an engine of one part
            checks = (asyncio.to_thread(self._require_part, expected, part) for part in parts)
            await asyncio.gather(*checks)

    def _require_part(self, expected: Expected, part: Engine) -> None:
        """Raise BrokenVariantError unless a part of the engine answers as the gate saw.

        The sentence is asked in a batch with another one, if the variant allows such batches.
        """
        predictor = self._predictor
        ids = predictor.encoder.encode(expected.text)
        longer = [*ids[:-1], *ids[-2:]]  # so that the sentence itself is padded
        room = len(longer) <= predictor.encoder.max_tokens
        batch = [ids, longer] if predictor.mates == "any" and room else [ids]
        own = Predictor(predictor.name, predictor.encoder, part, pad_to=predictor.pad_to)
        _require_expected(expected, own.answer(batch)[0])

    def _prepare(self) -> None:
        if self._predictor.engine.about.prepares:
            self._prepare_side_by_side()
        if not self.settings.streams:
            streams = self._chosen_streams()
            self._limits = limits_of(self._predictor, self.settings, streams)
            self._scheduler.set_limits(self._limits)
            self._scheduler.add_streams(streams - 1)

    def _chosen_streams(self) -> int:
        """Return the number of streams: the one that an earlier start stored, or measured now."""
        folder = self._predictor.engine.about.kept
        most, largest = self._most, self._limits.sentences
        name = f"streams, of {most} at most, with batches of {largest}"
        stored = recall(folder, name) if folder else None
        if isinstance(stored, int) and 1 <= stored <= most:
            return stored
        chosen = choose(self._infer_made_up, most, largest)
        if folder:
            remember(folder, name, chosen)
        return chosen

    def _infer_made_up(self, count: int, width: int = PREPARED_TOKENS[0]) -> None:
        """Infer ``count`` made-up sentences of about ``width`` tokens as one batch."""
        ids = self._predictor.encoder.encode(WARM_UP)
        padded = (ids + [ids[-1]] * width)[: max(width, len(ids))]
        self._predictor.answer([padded] * count)

    def _prepare_side_by_side(self) -> None:
        """Have the engine prepare for short sentences, with as many concurrent calls as streams."""
        until = time.monotonic() + PREPARING_SECONDS
        for width in PREPARED_TOKENS:
            self._infer_made_up(1, width)
        others = [
            Thread(target=self._prepare_batches, args=(until,)) for _ in range(self._most - 1)
        ]
        for thread in others:
            thread.start()
        self._prepare_batches(until)
        for thread in others:
            thread.join()

    def _prepare_batches(self, until: float) -> None:
        for width in PREPARED_TOKENS:
            for count in range(1, min(self._limits.sentences, self._limits.tokens // width) + 1):
                if time.monotonic() > until or self.draining:
                    return
                self._infer_made_up(count, width)

    def require_ready(self) -> None:
        """Raise a 503 problem unless this server is ready for requests."""
        if self.not_ready:
            raise ProblemError(503, self.not_ready, RETRY, DRAINING if self.draining else NOT_READY)

    def in_force(self) -> dict[str, int | float | bool]:
        """Return the settings in force: those chosen, as far as variant and engine allow them."""
        settings = self.settings
        replicas = {"replicas": settings.replicas, "max_replicas": settings.most_replicas}
        return {
            **settings.values("speed"),
            "streams": self._scheduler.streams,
            "threads": settings.threads or usable_cores(),
            "least_threads": min(self._predictor.engine.about.widths, default=settings.threads)
            or usable_cores(),
            "max_batch": self._limits.sentences,
            "batch_tokens": self._limits.tokens,
            "batch_padded": self._limits.padded,
            "batch_padding": self._limits.padding,
            "pad_to": self._limits.multiple,
            "unpads": unpads(self._predictor, self._scheduler.streams),
            "queue_limit": settings.queue_limit,
            "deadline": settings.deadline,
            "body_limit": settings.body_limit,
            "batch_limit": self.max_texts,
            "api_key": settings.api_key_file is not None,
        } | (replicas if settings.replicas else settings.values("connections"))

    @property
    def max_texts(self) -> int:
        """The most texts in one request: those that an idle server has room for."""
        return min(self.settings.batch_limit, self._scheduler.streams + self.settings.queue_limit)

    def accept(self) -> float:
        """Return a new request's deadline on the loop's clock."""
        return asyncio.get_running_loop().time() + self.settings.deadline

    async def ask(
        self, question: Question, until: float | None, watch: Stopwatch | None = None
    ) -> list[Answer]:
        """Return one answer for each text; ``watch`` gets the stages from tokens to ranking.

        Raises a 400 or 422 problem for a text that cannot be asked, 503 if the queue is full, 504
        past ``until`` (seconds on the loop's clock; None: never).
        """
        # What is known, or in flight already, needs no room in the queue.
        if self._cache is None and self._flights is None:
            self._scheduler.require_room(len(question.texts))
        if sum(map(len, question.texts)) + len(question.candidates or ()) <= LONG:
            jobs = list(self._jobs(question))
        else:
            jobs = await asyncio.to_thread(lambda: list(self._jobs(question)))
        if watch is None:
            return (await self._answers(jobs, until))[0]
        watch.lap("tokenize")
        answers, asked = await self._answers(jobs, until)
        if times := [job.times for job in asked if job.times]:  # none: all from the cache
            last = max(times, key=attrgetter("ranked"))
            watch.lap("queue", last.began)
            watch.lap("engine", last.computed)
            watch.lap("rank", last.ranked)
        return answers

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of the running loop."""
        return self._scheduler.deadlines

    @property
    def waiting(self) -> int:
        """How many sentences wait for a stream."""
        return self._scheduler.waiting

    def drain(self) -> None:
        """Be no longer ready; what is asked all the same is answered."""
        self.draining = True
        self.not_ready = "the server is draining"

    def close(self) -> None:
        """End the streams."""
        self._scheduler.close()

    async def _answers(
        self, jobs: Sequence[Pending], until: float | None
    ) -> tuple[list[Answer], Sequence[Pending]]:
        """Return the answers, and the jobs that the engine was asked, by this or another caller."""
        if self._cache is None:
            return await self._asked(jobs, until)
        cached = [self._cache.get(job) for job in jobs]
        unknown = [job for job, answer in zip(jobs, cached, strict=True) if answer is None]
        fresh, asked = await self._asked(unknown, until)
        for job, answer in zip(asked, fresh, strict=True):
            self._cache.put(job, answer)
        new = iter(fresh)
        return [next(new) if answer is None else answer for answer in cached], asked

    async def _asked(
        self, jobs: Sequence[Pending], until: float | None
    ) -> tuple[list[Answer], Sequence[Pending]]:
        if self._flights is None:
            return await self._scheduler.run(jobs, until), jobs
        asked, new = self._flights.join(jobs)
        return await self._scheduler.run(asked, until, new), asked

    def _jobs(self, question: Question) -> Iterator[Pending]:
        several = len(question.texts) > 1
        try:
            for candidate in question.candidates or ():
                self._predictor.encoder.candidate_id(candidate)
        except TextError as error:
            raise ProblemError(422, str(error), code=error.code, values=error.values) from None
        for index, text in enumerate(question.texts):
            try:
                ids = self._predictor.encoder.encode(text)
            except TextError as error:
                status = 400 if isinstance(error, NoMaskError) else 422
                place = f"texts[{index}]: " if several else ""
                values = error.values | ({"index": index} if several else {})
                raise ProblemError(
                    status, f"{place}{error}", code=error.code, values=values
                ) from None
            yield Pending(ids, question.top_k, question.candidates)

    def _infer(self, jobs: Sequence[Pending]) -> list[Answer]:
        computed: list[float] = []
        began = time.perf_counter()
        answers = self._predictor.answer(
            [job.ids for job in jobs],
            max(job.top_k for job in jobs),
            jobs[0].candidates,
            lambda: computed.append(time.perf_counter()),
        )
        ranked = time.perf_counter()
        self._count(jobs, BatchTimes(began, computed[-1] if computed else ranked, ranked))
        return [
            [ranking[: job.top_k] for ranking in answer]
            for job, answer in zip(jobs, answers, strict=True)
        ]

    def _count(self, jobs: Sequence[Pending], times: BatchTimes) -> None:
        for job in jobs:
            job.times = times
        lengths = [len(job.ids) for job in jobs]
        tokens = sum(lengths)
        self.metrics.inferred(
            times.ranked - times.began,
            [times.began - job.arrived for job in jobs],
            text=tokens,
            padding=ceiling(max(lengths), self._predictor.pad_to) * len(jobs) - tokens,
        )


def _require_expected(expected: Expected, answer: Answer) -> None:
    """Raise BrokenVariantError if an answer is not the gate's, apart from rounding."""
    scores = {entry.token: entry.score for entry in answer[0]}
    best = max(expected.scores, key=expected.scores.__getitem__)
    difference = abs(scores.get(best, 0.0) - expected.scores[best])
    if next(iter(scores)) != best or difference > WARM_UP_DELTA:
        answered = ", ".join(f"{token} {score:.3f}" for token, score in scores.items())
        raise BrokenVariantError(
            f"{expected.text} is answered by {answered}, but the gate saw {best}"
            f" {expected.scores[best]:.3f}: build and check the variant again, on this machine"
        )


def service_of(request: Request) -> Service:
    """Return the service of the app that serves a request."""
    service: Service = request.app.state.service
    return service
