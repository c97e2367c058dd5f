"""Distributions: the latencies of all requests under one load, from the raw figures of cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import Load
from ...toolkit.runs.run_file import Run
from ...toolkit.runs.validity import is_valid
from ...toolkit.stats import SUPPORT
from .points import Series

STEPS = 96  # points of a curve


@dataclass(frozen=True)
class Distribution:
    """The latencies (ms) at rising percentiles (0 to 100, excluded), as far as answers support."""

    series: Series
    ranks: tuple[float, ...]
    latencies_ms: tuple[float, ...]
    answers: int

    def at(self, rank: float) -> float | None:
        """Return the latency at a percentile; None if answers do not support it."""
        return dict(zip(self.ranks, self.latencies_ms, strict=True)).get(rank)


def depth(rank: float) -> float:
    """Return how deep in the tail a percentile lies: 1 for P90, 2 for P99.

    >>> depth(90.0), depth(99.0)
    (1.0, 2.0)
    """
    return round(float(-np.log10(1 - rank / 100)), 6)


def distributions(runs: Sequence[Run], load: Load) -> tuple[Distribution, ...]:
    """Return the distribution of each series under a load, over its valid repeats together.

    Failures and wrong answers count as infinitely slow.
    """
    groups: dict[Series, list[Cell]] = defaultdict(list)
    for run in runs:
        for cell in run.cells:
            if cell.load == load and is_valid(cell):
                groups[cell.point.variant, cell.point.stack].append(cell)
    made = (_distribution(series, cells) for series, cells in groups.items())
    return tuple(one for one in made if one.ranks)


def _distribution(series: Series, cells: Sequence[Cell]) -> Distribution:
    known = np.sort(np.concatenate([np.asarray(cell.latencies_ms, float) for cell in cells]))
    total = len(known) + sum(cell.failed + cell.wrong for cell in cells)
    supported = [rank for rank, least in SUPPORT.items() if len(known) >= least]
    if not supported:
        return Distribution(series, (), (), len(known))
    even = 100 * (1 - 10 ** -np.linspace(0.0, depth(max(supported)), STEPS)[1:-1])
    ranks = sorted({*(float(rank) for rank in even), *map(float, supported)})
    places = [int(np.ceil(total * rank / 100)) - 1 for rank in ranks]
    inside = [
        (rank, place) for rank, place in zip(ranks, places, strict=True) if place < len(known)
    ]
    return Distribution(
        series,
        tuple(rank for rank, _ in inside),
        tuple(float(known[max(0, place)]) for _, place in inside),
        len(known),
    )
