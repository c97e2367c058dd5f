"""A variant folder used with onnxruntime and tokenizers alone: nothing of ours is imported."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
from tokenizers import Tokenizer

MASK = "[MASK]"
TIE = 1e-3  # scores closer than this, relatively, may change places

Best = list[tuple[int, float]]
"""Ids and probabilities of the best five tokens, best first."""


class Plain:
    """The usual way: all inputs of int64, the output ``logits``, softmax at the [MASK]."""

    def __init__(self, folder: Path, file: str) -> None:
        import onnxruntime  # here: where OpenVINO variants are loaded there is none

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._session = onnxruntime.InferenceSession(
            str(folder / file), providers=["CPUExecutionProvider"]
        )

    def best(self, text: str) -> Best:
        """Return the best five tokens for the first [MASK]."""
        encoding = self._tokenizer.encode(text)
        feed = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": encoding.type_ids,
        }
        wanted = [entry.name for entry in self._session.get_inputs()]
        (logits,) = self._session.run(
            ["logits"], {name: np.array([feed[name]], np.int64) for name in wanted}
        )
        return best_of(logits[0, encoding.tokens.index(MASK)])


def best_of(logits: np.ndarray) -> Best:
    """Return the best five of a row of logits."""
    scores = np.exp(logits.astype(np.float64) - logits.max())
    scores /= scores.sum()
    ids = np.argsort(-scores, kind="stable")[:5]
    return [(int(i), float(scores[i])) for i in ids]


def differs(expected: Best, given: Best, tie: float = TIE, delta: float = TIE) -> bool:
    """Tell whether an answer differs by more than ties and rounding.

    ``expected`` may have more tokens than are asked for, to find ties at the end.
    """
    score = dict(expected)
    for (right, probability), (token, _) in zip(expected[: len(given)], given, strict=True):
        if token != right and abs(score.get(token, -1.0) - probability) > tie * probability:
            return True
    return abs(expected[0][1] - given[0][1]) > delta
