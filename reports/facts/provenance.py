"""Provenance: what was in force while the cells of runs were measured, equal things once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.runs.run_file import Run
from ...toolkit.runs.validity import is_valid
from .points import Series


@dataclass(frozen=True)
class Tally:
    """How many of a run's cells were measured, are valid, were replaced by a later attempt."""

    measured: int
    valid: int
    superseded: int


@dataclass(frozen=True)
class InForce:
    """Server settings, the series and how many cells were measured with them."""

    settings: Mapping[str, Any]
    series: tuple[Series, ...]
    cells: int


def tally(runs: Sequence[Run]) -> Tally:
    """Return the counts of runs together."""
    cells = [cell for run in runs for cell in run.cells]
    superseded = sum(len(run.superseded) for run in runs)
    return Tally(len(cells), sum(is_valid(cell) for cell in cells), superseded)


def in_force(runs: Sequence[Run]) -> tuple[InForce, ...]:
    """Return the settings in force, each once, in the order of their first cell."""
    seen: dict[str, tuple[Mapping[str, Any], list[Series]]] = {}
    for run in runs:
        for cell in run.cells:
            key = json.dumps(cell.settings, sort_keys=True, default=str)
            series = (cell.point.variant, cell.point.stack)
            seen.setdefault(key, (cell.settings, []))[1].append(series)
    return tuple(
        InForce(settings, tuple(dict.fromkeys(series)), len(series))
        for settings, series in seen.values()
    )
