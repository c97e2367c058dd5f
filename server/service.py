"""The service behind the routes: asks the predictor, knows whether it is ready."""

from __future__ import annotations

import asyncio
from functools import partial

from ..toolkit.predictor import Answer, Predictor
from ..toolkit.text import MASK, NoMaskError, TextError
from .bodies import Question
from .problems import RETRY, ProblemError
from .settings import Settings
from .streams import Streams

WARM_UP = f"今天天气很{MASK}。"


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
        self._streams = Streams(settings.streams, settings.queue_limit)

    async def warm_up(self) -> None:
        """Ask one sentence; only an answer makes the service ready."""
        try:
            await self.ask(Question((WARM_UP,)), until=None)
        except Exception as error:  # whatever an engine raises
            self.not_ready = "the warm-up failed"
            self.failure = repr(error)  # for the operator; clients are not told
        else:
            self.not_ready = "the server is draining" if self.draining else ""

    def accept(self) -> float:
        """Return a new request's deadline on the loop's clock; raise a 503 problem if draining."""
        if self.draining:
            raise ProblemError(503, "the server is draining", RETRY)
        return asyncio.get_running_loop().time() + self.settings.deadline

    async def ask(self, question: Question, until: float | None) -> list[Answer]:
        """Return one answer a text, each text asked alone: batchmates cannot change an answer.

        Raises a 400 or 422 problem for a text that cannot be asked, 503 if the queue is full, 504
        past ``until`` (seconds on the loop's clock; None: never).
        """
        several = len(question.texts) > 1
        calls = [
            partial(self._answer, text, f"texts[{index}]: " if several else "", question)
            for index, text in enumerate(question.texts)
        ]
        return await self._streams.run(calls, until)

    def drain(self) -> None:
        """Take no new requests; those accepted are finished."""
        self.draining = True
        self.not_ready = "the server is draining"

    def close(self) -> None:
        """End the streams."""
        self._streams.close()

    def _answer(self, text: str, place: str, question: Question) -> Answer:
        try:
            return self._predictor.predict([text], question.top_k, question.candidates)[0]
        except TextError as error:
            status = 400 if isinstance(error, NoMaskError) else 422
            raise ProblemError(status, f"{place}{error}") from None
