"""Variants: what a report says about each one besides its speed: files, gate, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.runs.run_file import Run
from .points import MeasuredPoint


@dataclass(frozen=True)
class Gate:
    """The gate's result for a variant; shares are in 0..1 (None: there is no reference).

    ``judged`` is false if there was neither a reference nor a promise to check its answers against.
    """

    passed: bool
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float | None
    reasons: tuple[str, ...]
    judged: bool = True


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
        if point.variant == name:
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
    return Gate(
        bool(data["passed"]),
        data["hit_at_1"],
        data["hit_at_5"],
        data["top1_agreement"],
        tuple(str(reason) for reason in data.get("reasons", ())),
        bool(data.get("judged", True)),
    )
