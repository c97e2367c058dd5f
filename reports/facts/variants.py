"""Variants: what a report says about each one besides its speed: files, gate, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.runs.run_file import Run
from .gate import Gate, gate_of
from .points import MeasuredPoint


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
    items = runs[0].header.gold.get("items")  # one gold set: a report refuses a mixture
    return tuple(_variant_row(name, entry, measured, items) for name, entry in entries.items())


def _variant_row(
    name: str, entry: Mapping[str, Any], measured: Sequence[MeasuredPoint], items: int | None
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
        gate_of(entry.get("gate"), items),
        tuple(memory.items()),
    )
