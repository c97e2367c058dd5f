"""Ask a variant: sentences in, ranked tokens for every [MASK] out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import BrokenVariantError, UnusableInputError
from .manifest import Manifest, read_manifest
from .text import Batch, TextEncoder

Logits = NDArray[np.float32]


class Engine(Protocol):
    """What runs a model: one implementation a file (``engine_*.py``), all held to one test."""

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary), in the order of ``batch.rows``."""


@dataclass(frozen=True)
class Ranked:
    """A token for a [MASK] with its probability over the whole vocabulary."""

    token: str
    score: float


Answer = list[list[Ranked]]
"""One ranking for every [MASK] of a sentence, in reading order."""


class Predictor:
    """A text encoder and an engine: the whole way from sentence to ranked tokens."""

    def __init__(self, name: str, encoder: TextEncoder, engine: Engine) -> None:
        self.name = name
        self.encoder = encoder
        self.engine = engine

    def predict(
        self, texts: Sequence[str], top_k: int = 5, candidates: Sequence[str] | None = None
    ) -> list[Answer]:
        """Return the ``top_k`` tokens for every [MASK] of every sentence.

        All sentences run as one batch.  With ``candidates`` only those tokens are ranked (their
        scores stay probabilities over the whole vocabulary).  Raises a TextError for a sentence
        that cannot be asked.
        """
        batch = self.encoder.batch([self.encoder.encode(text) for text in texts])
        allowed = None
        if candidates is not None:
            ids = dict.fromkeys(self.encoder.candidate_id(c) for c in candidates)
            allowed = np.asarray(list(ids), dtype=np.int64)
        logits = self.engine.logits(batch)
        if not np.isfinite(logits).all():
            raise BrokenVariantError(f"{self.name} gives scores that are not numbers")
        answers: list[Answer] = [[] for _ in texts]
        for row, scores in zip(batch.rows, probabilities(logits), strict=True):
            answers[int(row)].append(self._rank(scores, top_k, allowed))
        return answers

    def _rank(
        self, scores: NDArray[np.float32], top_k: int, allowed: NDArray[np.int64] | None
    ) -> list[Ranked]:
        if allowed is not None:
            order = allowed[np.argsort(-scores[allowed], kind="stable")][:top_k]
        else:
            order = top_ids(scores, top_k)
        return [Ranked(self.encoder.token(int(i)), float(scores[i])) for i in order]


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


def open_variant(folder: Path, threads: int = 0) -> Predictor:
    """Open a built variant, its files checked against the manifest first.

    ``threads`` is the number of threads for one sentence (0: all cores this process may use).
    Raises UnusableInputError if the folder is no variant or a file does not match.
    """
    manifest = read_manifest(folder)
    manifest.verify(folder)
    return Predictor(
        manifest.variant,
        TextEncoder.from_folder(folder, max_tokens=_positions(folder)),
        _engine(folder, manifest, threads),
    )


def _positions(folder: Path) -> int:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(config["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableInputError(f"{folder / 'config.json'} is unusable: {error!r}") from None


def _engine(folder: Path, manifest: Manifest, threads: int) -> Engine:
    # Imported here: serving an ONNX variant must not need torch, and the other way round.
    match manifest.recipe.engine:
        case "onnxruntime":
            from .engine_onnx import OnnxEngine

            return OnnxEngine(folder / manifest.recipe.file, threads)
        case "pytorch":
            from .engine_torch import TorchEngine

            return TorchEngine(folder, threads)
        case other:
            raise UnusableInputError(f"{folder}: this version has no engine {other!r}")


def as_body(answer: Answer) -> dict[str, list[Any]]:
    """Return an answer as /predict gives it: the first [MASK] as ``results``, all as ``masks``."""
    masks = [[{"token": best.token, "score": best.score} for best in mask] for mask in answer]
    return {"results": masks[0], "masks": masks}
