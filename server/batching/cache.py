"""A cache of answers, for clients that ask the same question again."""

from __future__ import annotations

from cachetools import LRUCache

from ...toolkit.engines.predictor import Answer
from ..http.metrics import Metrics
from .scheduler import Pending

Key = tuple[tuple[int, ...], int, tuple[str, ...] | None]


class AnswerCache:
    """The last ``room`` different questions and their answers; used from one thread only."""

    def __init__(self, room: int, metrics: Metrics) -> None:
        self._answers: LRUCache[Key, Answer] = LRUCache(room)
        self._hits = metrics.cache.labels("hit")
        self._misses = metrics.cache.labels("miss")

    def get(self, job: Pending) -> Answer | None:
        """Return the cached answer to the same question; None if there is none."""
        answer: Answer | None = self._answers.get(key_of(job))
        (self._misses if answer is None else self._hits).inc()
        return answer

    def put(self, job: Pending, answer: Answer) -> None:
        """Store an answer."""
        self._answers[key_of(job)] = answer


def key_of(job: Pending) -> Key:
    """Return what a job asks: its answer depends on nothing else."""
    return tuple(job.ids), job.top_k, job.candidates
