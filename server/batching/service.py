"""The service behind the routes: asks the predictor, knows whether it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from threading import Thread

from starlette.requests import Request

from ...toolkit.engines.kinds import Expected
from ...toolkit.engines.predictor import Answer, Engine, Predictor
from ...toolkit.engines.prepared import recall, remember
from ...toolkit.engines.text import LONG, MASK, NoMaskError, TextError, ceiling
from ...toolkit.errors import BrokenVariantError, TiankongError
from ...toolkit.machine import usable_cores
from ..http.bodies import Question
from ..http.metrics import Metrics
from ..http.problems import DRAINING, NOT_READY, RETRY, ProblemError
from ..settings import Settings
from .cache import AnswerCache
from .scheduler import Limits, Pending, Scheduler
from .streams import choose

WARM_UP = f"今天天气很{MASK}。"
WARM_UP_DELTA = 0.05  # of a probability; another machine's kernels round otherwise
PREPARED_TOKENS = (16, 24, 32)
PREPARING_SECONDS = 0.6
MANY = 1_000_000  # callers at once: as many as there are


def unpads(predictor: Predictor, streams: int) -> bool:
    """Tell whether batches compute no padding: those do that leave cores to others."""
    about = predictor.engine.about
    return about.unpads and (streams > 1 or max(about.widths, default=1) == 1)


def limits_of(predictor: Predictor, settings: Settings, streams: int) -> Limits:
    """Return what may run together: no answer may be another than the sentence's own, alone."""
    if predictor.mates == "none":
        return Limits(sentences=1)
    padding = Limits.tokens if unpads(predictor, streams) else Limits.padding
    if predictor.mates == "same length":
        padding = 0
    return Limits(settings.max_batch, padding=padding, multiple=predictor.pad_to)


class Service:
    """One predictor under the settings' limits.

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
        # More streams than the engine has would wait in it with batches that are still growing.
        self._most = min(settings.streams or usable_cores(), predictor.engine.about.callers or MANY)
        streams = self._most if settings.streams else 1
        self._limits = limits_of(predictor, settings, streams)
        self._scheduler = Scheduler(self._infer, streams, settings.queue_limit, self._limits)
        self.metrics = Metrics()
        self.metrics.watch(
            "queue_length", "Sentences that wait for a stream.", lambda: self.waiting
        )
        self.metrics.watch("streams_busy", "Streams at work.", lambda: self._scheduler.busy)
        self._cache = AnswerCache(settings.cache, self.metrics) if settings.cache else None

    async def warm_up(self) -> None:
        """Ask one sentence; only the answer that the gate saw (before it: any) makes us ready."""
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
            # For the operator; clients are not told.
            self.failure = str(error) if isinstance(error, TiankongError) else repr(error)
        else:
            self.metrics.tell(self.variant, self.in_force())
            self.not_ready = "the server is draining" if self.draining else ""

    async def _require_parts(self, expected: Expected) -> None:
        parts = self._predictor.engine.about.parts
        if len(parts) > 1:  # else it has been asked
            checks = (asyncio.to_thread(self._require_part, expected, part) for part in parts)
            await asyncio.gather(*checks)

    def _require_part(self, expected: Expected, part: Engine) -> None:
        """Hold an engine that a batch may get to what the gate saw, in company where it may be.

        Raises BrokenVariantError if it answers otherwise.
        """
        predictor = self._predictor
        ids = predictor.encoder.encode(expected.text)
        longer = [*ids[:-1], *ids[-2:]]  # so that the other one is padded
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
            self._scheduler.limit(self._limits)
            self._scheduler.add_streams(streams - 1)

    def _chosen_streams(self) -> int:
        """Return how many streams there shall be: as an earlier start found it, or measured now."""
        kept = self._predictor.engine.about.kept
        most, largest = self._most, self._limits.sentences
        name = f"streams, of {most} at most, with batches of {largest}"
        known = recall(kept, name) if kept else None
        if isinstance(known, int) and 1 <= known <= most:
            return known
        chosen = choose(self._infer_alike, most, largest)
        if kept:
            remember(kept, name, chosen)
        return chosen

    def _infer_alike(self, count: int, width: int = PREPARED_TOKENS[0]) -> None:
        """Answer so many short sentences of one length, that nobody asked, as one batch."""
        ids = self._predictor.encoder.encode(WARM_UP)
        padded = (ids + [ids[-1]] * width)[: max(width, len(ids))]
        self._predictor.answer([padded] * count)

    def _prepare_side_by_side(self) -> None:
        """Have the engine prepare for short sentences, as many calls at a time as may come."""
        until = time.monotonic() + PREPARING_SECONDS
        for width in PREPARED_TOKENS:
            self._infer_alike(1, width)
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
                self._infer_alike(count, width)

    def require_ready(self) -> None:
        """Raise a 503 problem unless requests should be sent here."""
        if self.not_ready:
            raise ProblemError(503, self.not_ready, RETRY, DRAINING if self.draining else NOT_READY)

    def in_force(self) -> dict[str, int | float | bool]:
        """Return the settings as they are in force: what variant and engine allow of them."""
        settings = self.settings
        replicas = {"replicas": settings.replicas, "max_replicas": settings.most_replicas}
        own = {"connections": settings.connections, "head_deadline": settings.head_deadline}
        return {
            "streams": self._scheduler.streams,
            "threads": settings.threads or usable_cores(),
            "least_threads": min(self._predictor.engine.about.widths, default=settings.threads)
            or usable_cores(),
            "max_batch": self._limits.sentences,
            "batch_tokens": self._limits.tokens,
            "batch_padding": self._limits.padding,
            "pad_to": self._limits.multiple,
            "unpads": unpads(self._predictor, self._scheduler.streams),
            "spin": settings.spin,
            "queue_limit": settings.queue_limit,
            "deadline": settings.deadline,
            "body_limit": settings.body_limit,
            "max_texts": self.max_texts,
            "cache": settings.cache,
            "api_key": settings.api_key_file is not None,
        } | (replicas if settings.replicas else own)

    @property
    def max_texts(self) -> int:
        """Texts in one request that an idle server has room for."""
        return min(self.settings.batch_limit, self._scheduler.streams + self.settings.queue_limit)

    def accept(self) -> float:
        """Return a new request's deadline on the loop's clock; raise a 503 problem if draining."""
        if self.draining:
            raise ProblemError(503, "the server is draining", RETRY, DRAINING)
        return asyncio.get_running_loop().time() + self.settings.deadline

    async def ask(self, question: Question, until: float | None) -> list[Answer]:
        """Return one answer a text.

        Raises a 400 or 422 problem for a text that cannot be asked, 503 if the queue is full, 504
        past ``until`` (seconds on the loop's clock; None: never).
        """
        if not self._cache:  # those that it knows need no room
            self._scheduler.require_room(len(question.texts))
        if sum(map(len, question.texts)) + len(question.candidates or ()) <= LONG:
            jobs = list(self._jobs(question))
        else:
            jobs = await asyncio.to_thread(lambda: list(self._jobs(question)))
        return await self._answers(jobs, until)

    @property
    def waiting(self) -> int:
        """Sentences that wait for a stream."""
        return self._scheduler.waiting

    def drain(self) -> None:
        """Take no new requests; those accepted are finished."""
        self.draining = True
        self.not_ready = "the server is draining"

    def close(self) -> None:
        """End the streams."""
        self._scheduler.close()

    async def _answers(self, jobs: list[Pending], until: float | None) -> list[Answer]:
        if not self._cache:
            return await self._scheduler.run(jobs, until)
        known = [self._cache.get(job) for job in jobs]
        unknown = [job for job, answer in zip(jobs, known, strict=True) if answer is None]
        fresh = await self._scheduler.run(unknown, until)
        for job, answer in zip(unknown, fresh, strict=True):
            self._cache.put(job, answer)
        new = iter(fresh)
        return [next(new) if answer is None else answer for answer in known]

    def _jobs(self, question: Question) -> Iterator[Pending]:
        several = len(question.texts) > 1
        try:
            for candidate in question.candidates or ():
                self._predictor.encoder.candidate_id(candidate)
        except TextError as error:
            raise ProblemError(422, str(error)) from None
        for index, text in enumerate(question.texts):
            try:
                ids = self._predictor.encoder.encode(text)
            except TextError as error:
                status = 400 if isinstance(error, NoMaskError) else 422
                place = f"texts[{index}]: " if several else ""
                raise ProblemError(status, f"{place}{error}") from None
            yield Pending(ids, question.top_k, question.candidates)

    def _infer(self, jobs: Sequence[Pending]) -> list[Answer]:
        began = time.perf_counter()
        answers = self._predictor.answer(
            [job.ids for job in jobs], max(job.top_k for job in jobs), jobs[0].candidates
        )
        self._count(jobs, began, time.perf_counter())
        return [
            [ranking[: job.top_k] for ranking in answer]
            for job, answer in zip(jobs, answers, strict=True)
        ]

    def _count(self, jobs: Sequence[Pending], began: float, ended: float) -> None:
        metrics = self.metrics
        metrics.inference_seconds.observe(ended - began)
        metrics.batch_sentences.observe(len(jobs))
        for job in jobs:
            metrics.queue_seconds.observe(began - job.arrived)
        lengths = [len(job.ids) for job in jobs]
        tokens = sum(lengths)
        metrics.tokens.labels("text").inc(tokens)
        metrics.tokens.labels("padding").inc(
            ceiling(max(lengths), self._predictor.pad_to) * len(jobs) - tokens
        )


def _require_expected(expected: Expected, answer: Answer) -> None:
    """Raise BrokenVariantError if an answer is not what the gate saw, other roundings apart."""
    given = {entry.token: entry.score for entry in answer[0]}
    best = max(expected.scores, key=expected.scores.__getitem__)
    apart = abs(given.get(best, 0.0) - expected.scores[best])
    if next(iter(given)) != best or apart > WARM_UP_DELTA:
        said = ", ".join(f"{token} {score:.3f}" for token, score in given.items())
        raise BrokenVariantError(
            f"{expected.text} is answered by {said}, but the gate saw {best}"
            f" {expected.scores[best]:.3f}: build and check the variant again, on this machine"
        )


def service_of(request: Request) -> Service:
    """Return the service behind the app that a request came to."""
    service: Service = request.app.state.service
    return service
