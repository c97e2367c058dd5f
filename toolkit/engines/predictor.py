"""Ask a variant: sentences in, ranked tokens for every [MASK] out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BrokenVariantError
from .kinds import Expected, Mates
from .outputs import TOP
from .text import Batch, TextEncoder

Logits = NDArray[np.float32]
Best = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Ids and probabilities of the best tokens, best first, each of shape (masks, top_k)."""


@dataclass(frozen=True)
class About:
    """What a server needs to know about an engine; a wrapper passes its engine's on unchanged.

    ``callers`` is how many calls the engine runs at the same time (None: any number); it makes
    further calls wait.  ``prepares``: the first call of a new shape takes several times as long as
    the next.  ``widths``: the numbers of threads a call may get, if the number depends on how many
    calls run.  ``kept``: the folder of the prepared form it runs (see prepared.py); None: it runs
    none.  ``unpads``: padding in a batch of mixed lengths costs little (see unpadding.py).
    ``parts``: the engines it chooses from (see sharing.py); empty: it is one engine.
    """

    callers: int | None = None
    prepares: bool = False
    widths: Sequence[int] = ()
    kept: Path | None = None
    unpads: bool = False
    parts: Sequence[Engine] = ()


class Engine(Protocol):
    """What runs a model: one implementation a file (``*_engine.py``), all checked by one test."""

    about: About = About()

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary), in the order of ``batch.rows``."""

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the best tokens of every [MASK]; probabilities are over the whole vocabulary.

        A subclass (``class MyEngine(Engine)``) inherits this method, which ranks its logits.
        """
        return best_of(self.logits(batch), top_k)


class Ranked(NamedTuple):
    """A token for a [MASK] with its probability over the whole vocabulary."""

    token: str
    score: float


Ranking = Sequence[Ranked]
"""Tokens for one [MASK], best first."""
Answer = list[list[Ranked]]
"""One ranking for every [MASK] of a sentence, in reading order."""


class Predictor:
    """A text encoder and an engine: the whole way from a sentence to ranked tokens.

    ``mates`` says which sentences may share a batch (see :attr:`.Manifest.mates`).  Every padded
    length is a multiple of ``pad_to`` tokens (see :class:`.Recipe`).  ``expected`` is what the
    variant answered when the gate asked it (None: the gate has not).
    """

    def __init__(
        self,
        name: str,
        encoder: TextEncoder,
        engine: Engine,
        mates: Mates = "any",
        pad_to: int = 1,
        expected: Expected | None = None,
    ) -> None:
        self.name = name
        self.encoder = encoder
        self.engine = engine
        self.mates = mates
        self.pad_to = pad_to
        self.expected = expected

    def predict(
        self, texts: Sequence[str], top_k: int = TOP, candidates: Sequence[str] | None = None
    ) -> list[Answer]:
        """Return the ``top_k`` tokens for every [MASK] of every sentence.

        All sentences run as one batch.  With ``candidates`` only those tokens are ranked (their
        scores stay probabilities over the whole vocabulary).  Raises a TextError for a sentence
        that cannot be asked.
        """
        return self.answer([self.encoder.encode(text) for text in texts], top_k, candidates)

    def answer(
        self,
        encoded: Sequence[Sequence[int]],
        top_k: int = TOP,
        candidates: Sequence[str] | None = None,
        computed: Callable[[], object] = lambda: None,
    ) -> list[Answer]:
        """Do what :meth:`predict` does, for sentences that are ids already (``encoder.encode``).

        ``computed`` is called when the engine has done its part: the logits, or the ranking where
        it has a way of its own to rank.
        """
        batch = self.encoder.batch(encoded, self.pad_to)
        ids, scores = (
            self._best(batch, top_k, computed)
            if candidates is None
            else self._best_of_candidates(batch, top_k, candidates, computed)
        )
        if not np.isfinite(scores).all():
            raise BrokenVariantError(f"{self.name} gives scores that are not numbers")
        answers: list[Answer] = [[] for _ in encoded]
        for row, mask_ids, mask_scores in zip(
            batch.rows.tolist(), ids.tolist(), scores.tolist(), strict=True
        ):
            pairs = zip(mask_ids, mask_scores, strict=True)
            answers[row].append([Ranked(self.encoder.token(i), score) for i, score in pairs])
        return answers

    def _best(self, batch: Batch, top_k: int, computed: Callable[[], object]) -> Best:
        if getattr(type(self.engine), "best", None) is Engine.best:
            logits = self.engine.logits(batch)
            computed()
            return best_of(logits, top_k)
        best = self.engine.best(batch, top_k)
        computed()
        return best

    def _best_of_candidates(
        self,
        batch: Batch,
        top_k: int,
        candidates: Sequence[str],
        computed: Callable[[], object],
    ) -> Best:
        allowed = np.asarray(
            list(dict.fromkeys(self.encoder.candidate_id(c) for c in candidates)), dtype=np.int64
        )
        logits = self.engine.logits(batch)
        computed()
        scores = probabilities(logits)[:, allowed]
        order = np.argsort(-scores, axis=-1, kind="stable")[:, :top_k]
        return allowed[order], np.take_along_axis(scores, order, axis=-1)


def probabilities(logits: Logits) -> NDArray[np.float32]:
    """Return the softmax of each row (the last axis)."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def top_ids(scores: NDArray[np.float32], top_k: int) -> NDArray[np.int64]:
    """Return the ids of the ``top_k`` best scores, best first; ties go to the lower id."""
    top_k = min(top_k, len(scores))
    floor = np.partition(scores, -top_k)[-top_k]
    ids = np.flatnonzero(scores >= floor)
    return ids[np.argsort(-scores[ids], kind="stable")][:top_k].astype(np.int64)


def best_of(logits: Logits, top_k: int) -> Best:
    """Return the best tokens of every row; all probabilities are NaN if a logit is not finite."""
    if not np.isfinite(logits).all():
        shape = (len(logits), top_k)
        return np.zeros(shape, np.int64), np.full(shape, np.nan, np.float32)
    scores = probabilities(logits)
    ids = np.stack([top_ids(row, top_k) for row in scores])
    return ids, np.take_along_axis(scores, ids, axis=-1)


def as_body(answer: Answer) -> dict[str, list[Any]]:
    """Return an answer as /predict's body: the first [MASK] as ``results``, all as ``masks``."""
    masks = [[{"token": best.token, "score": best.score} for best in mask] for mask in answer]
    return {"results": masks[0], "masks": masks}
