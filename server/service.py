"""The service behind the routes: asks the predictor, knows whether it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

from ..toolkit.predictor import Answer, Predictor
from ..toolkit.text import MASK, NoMaskError, TextError
from .bodies import Question
from .problems import RETRY, ProblemError
from .scheduler import Job, Limits, Scheduler
from .settings import Settings

WARM_UP = f"今天天气很{MASK}。"
PREPARED_TOKENS = (16, 24, 32)
PREPARING_SECONDS = 1.5
AT_ONCE = 2_000  # characters; the loop does not stop to encode more, a thread does it


def limits_of(predictor: Predictor, settings: Settings) -> Limits:
    """Return what may run together: no answer may be another than the sentence's own, alone."""
    if predictor.mates == "none":
        return Limits(sentences=1)
    padding = 0 if predictor.mates == "same length" else Limits.padding
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
        self._limits = limits_of(predictor, settings)
        # More streams than the engine has would wait in it with batches that are still growing.
        streams = min(settings.streams, predictor.engine.callers or settings.streams)
        self._scheduler = Scheduler(self._infer, streams, settings.queue_limit, self._limits)

    async def warm_up(self) -> None:
        """Ask one sentence; only an answer makes the service ready."""
        try:
            await self.ask(Question((WARM_UP,)), until=None)
        except Exception as error:  # whatever an engine raises
            self.not_ready = "the warm-up failed"
            self.failure = repr(error)  # for the operator; clients are not told
        else:
            if self._predictor.engine.prepares:
                await asyncio.to_thread(self._prepare)
            self.not_ready = "the server is draining" if self.draining else ""

    def _prepare(self) -> None:
        """Have the engine prepare for batches of short sentences, as long as there is time."""
        ids = self._predictor.encoder.encode(WARM_UP)
        until = time.monotonic() + PREPARING_SECONDS
        for width in PREPARED_TOKENS:
            for count in range(1, min(self._limits.sentences, self._limits.tokens // width) + 1):
                if time.monotonic() > until or self.draining:
                    return
                padded = (ids + [ids[-1]] * width)[: max(width, len(ids))]
                self._predictor.answer([padded] * count)

    def accept(self) -> float:
        """Return a new request's deadline on the loop's clock; raise a 503 problem if draining."""
        if self.draining:
            raise ProblemError(503, "the server is draining", RETRY)
        return asyncio.get_running_loop().time() + self.settings.deadline

    async def ask(self, question: Question, until: float | None) -> list[Answer]:
        """Return one answer a text.

        Raises a 400 or 422 problem for a text that cannot be asked, 503 if the queue is full, 504
        past ``until`` (seconds on the loop's clock; None: never).
        """
        if sum(map(len, question.texts)) <= AT_ONCE:
            jobs = list(self._jobs(question))
        else:
            jobs = await asyncio.to_thread(lambda: list(self._jobs(question)))
        return await self._scheduler.run(jobs, until)

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

    def _jobs(self, question: Question) -> Iterator[Job]:
        several = len(question.texts) > 1
        for index, text in enumerate(question.texts):
            try:
                for candidate in question.candidates or ():
                    self._predictor.encoder.candidate_id(candidate)
                ids = self._predictor.encoder.encode(text)
            except TextError as error:
                status = 400 if isinstance(error, NoMaskError) else 422
                place = f"texts[{index}]: " if several else ""
                raise ProblemError(status, f"{place}{error}") from None
            yield Job(ids, question.top_k, question.candidates)

    def _infer(self, jobs: Sequence[Job]) -> list[Answer]:
        answers = self._predictor.answer(
            [job.ids for job in jobs], max(job.top_k for job in jobs), jobs[0].candidates
        )
        return [
            [ranking[: job.top_k] for ranking in answer]
            for job, answer in zip(jobs, answers, strict=True)
        ]
