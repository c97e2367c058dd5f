"""Dialects: how a server wants a sentence, and how it answers; ours, and those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Answers = list[list[tuple[str, float]]]
"""For each sentence tokens and scores, best first."""


@dataclass(frozen=True)
class Dialect:
    """What is sent and how the answer is read; ``ready`` is the path that answers 200 when ready.

    ``answers`` raises KeyError, TypeError, ValueError or AttributeError for anything else.
    """

    path: str
    ready: str
    question: Callable[[str], Any]
    answers: Callable[[Any], Answers]


def _of_entries(entries: Any) -> list[tuple[str, float]]:
    return [(str(entry["token"]), entry["score"]) for entry in entries]


def _predicted(data: Any) -> Answers:
    return [_of_entries(answer["results"]) for answer in data.get("predictions", [data])]


def _kserve(data: Any) -> Answers:
    columns = {output["name"]: output["data"] for output in data["outputs"]}
    return [list(zip(map(str, columns["token"]), columns["score"], strict=True))]


PREDICT, LISTS, KSERVE = "predict", "lists", "kserve"
DIALECTS: Mapping[str, Dialect] = {
    PREDICT: Dialect("/predict", "/health", lambda text: {"text": text}, _predicted),
    # BentoML: a batch is a list, so a sentence is a list of one.
    LISTS: Dialect(
        "/predict",
        "/readyz",
        lambda text: {"texts": [text]},
        lambda data: [_of_entries(answer) for answer in data],
    ),
    # KServe's protocol v2 (Triton, MLServer), with a model named ``fill``.
    KSERVE: Dialect(
        "/v2/models/fill/infer",
        "/v2/models/fill/ready",
        lambda text: {
            "inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]
        },
        _kserve,
    ),
}
