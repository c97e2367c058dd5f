"""The kinds of engines, and what engine files and graphs agree on by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

Mates = Literal["any", "same length", "none"]
"""Which sentences may be asked together so that every answer stays its own."""
ROUNDING = 1e-5  # of a probability: more than the last bits of float32

# Imported when needed: serving an ONNX variant must not need torch, and the other way round.
ENGINES = {
    "onnxruntime": ".onnx_engine",
    "openvino": ".openvino_engine",
    "pytorch": ".torch_engine",
}
SHARED = {"onnxruntime", "openvino"}  # can share the cores
SELF_CONTAINED = {"onnxruntime"}  # their prepared form is all they read

LOGITS, MASK_LOGITS = "logits", "mask_logits"
TOP_SCORES, TOP_IDS = "top_scores", "top_ids"
MASK = "[MASK]"
CONTRIB = "com.microsoft"  # the domain of ONNX Runtime's own operators
TOP, DEPTH = 5, 50  # tokens of an answer, of a whole ranking: what graphs give at most

POSITIONS = "tiankong/positions"  # (masks, 2): sentence and token of every [MASK]


@dataclass(frozen=True)
class Expected:
    """A sentence with one [MASK], and its best tokens with their probabilities, best first."""

    text: str
    scores: Mapping[str, float]


def import_engine(library: str) -> None:
    """Import what runs the variants of a library; the second who asks waits for the first."""
    if library in ENGINES:
        import_module(ENGINES[library], __package__)
