"""Variants: what a report says about each one besides its speed: files, gate, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.runs.run_file import Run
from .points import MeasuredPoint


@dataclass(frozen=True)
class FlippedItem:
    """A gold item whose best token is not the reference's."""

    id: str
    answer: str
    reference: str
    variant: str


@dataclass(frozen=True)
class Gate:
    """The gate's result for a variant; shares are in 0..1.

    What is compared with the reference is None if there is none, and what older runs do not record
    is None too.  ``judged`` is false if there was neither a reference nor a promise to check its
    answers against.  ``independent`` tells whether answers are the same in any batch.  ``guessed``
    is the hit@5 of guessing, ``at_chance`` whether the model does no better.
    """

    passed: bool
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float | None
    reasons: tuple[str, ...]
    judged: bool = True
    top5_agreement: float | None = None
    order_agreement: float | None = None
    flipped: tuple[FlippedItem, ...] | None = None
    max_delta: float | None = None
    divergence: float | None = None
    worst_divergence: float | None = None
    worst: str = ""
    independent: bool | None = None
    guessed: float | None = None
    at_chance: bool = False

    @property
    def recommended(self) -> bool:
        """Whether a variant of this result may be recommended."""
        return self.passed and self.judged and not self.at_chance


@dataclass(frozen=True)
class VariantRow:
    """A variant's files (bytes), gate result (None: never run) and memory by stack (bytes)."""

    name: str
    entry: Mapping[str, Any]
    file_bytes: int | None
    total_bytes: int | None
    gate: Gate | None
    memory: tuple[tuple[str, int], ...]


def variant_rows(runs: Sequence[Run], measured: Sequence[MeasuredPoint]) -> tuple[VariantRow, ...]:
    """Return every variant of the runs' headers, and those that only cells name."""
    entries: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        entries.update(run.header.variants)
    for point in measured:
        entries.setdefault(point.variant, {})
    return tuple(_variant_row(name, entry, measured) for name, entry in entries.items())


def _variant_row(
    name: str, entry: Mapping[str, Any], measured: Sequence[MeasuredPoint]
) -> VariantRow:
    memory: dict[str, int] = {}
    for point in measured:
        if point.variant == name and point.resident_bytes is not None:
            memory[point.stack] = max(memory.get(point.stack, 0), point.resident_bytes)
    return VariantRow(
        name,
        entry,
        entry.get("model_file_size"),
        entry.get("size"),
        _gate(entry.get("gate")),
        tuple(memory.items()),
    )


def _gate(data: Mapping[str, Any] | None) -> Gate | None:
    if data is None:
        return None
    guessing, batch = data.get("guessing") or {}, data.get("batch") or {}
    compared = data["top1_agreement"] is not None
    return Gate(
        bool(data["passed"]),
        data["hit_at_1"],
        data["hit_at_5"],
        data["top1_agreement"],
        tuple(str(reason) for reason in data.get("reasons", ())),
        bool(data.get("judged", True)),
        data.get("top5_agreement"),
        data.get("order_agreement"),
        tuple(map(_flipped, data["flipped"])) if compared and "flipped" in data else None,
        data.get("max_delta") if compared else None,
        data.get("divergence"),
        data.get("worst_divergence"),
        data.get("worst", ""),
        batch.get("independent"),
        guessing.get("hit_at_5"),
        bool(guessing.get("at_chance")),
    )


def _flipped(item: Mapping[str, str]) -> FlippedItem:
    return FlippedItem(item["id"], item["answer"], item["reference"], item["variant"])
