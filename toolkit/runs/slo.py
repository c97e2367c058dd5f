"""Service level objectives: ``p95=100ms``, or several, ``p50=20ms,p99=0.5s``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UnusableInputError
from ..stats import SUPPORT
from .cell import Cell
from .validity import MAX_FAILURE_SHARE

PART = re.compile(r"p(?P<rank>\d+)=(?P<value>\d+(?:\.\d+)?)(?P<unit>ms|s)")
UNITS = {"ms": 1.0, "s": 1000.0}
LEAST = 20  # latencies that a rough percentile needs; the confirmation needs more: SUPPORT


@dataclass(frozen=True)
class Slo:
    """Limits in milliseconds by percentile; failures count as infinitely slow."""

    text: str
    limits_ms: tuple[tuple[int, float], ...]

    def held(self, cell: Cell) -> bool:
        """Return whether one cell keeps every limit, by rough percentiles of its sample.

        Wrong answers, or more failures than a valid cell may have, break every objective.
        """
        if cell.wrong or cell.failed > MAX_FAILURE_SHARE * cell.requests:
            return False
        if len(cell.latencies_ms) < LEAST:
            return False
        return all(rough_percentile(cell, rank) <= limit for rank, limit in self.limits_ms)

    def kept(self, cells: Sequence[Cell]) -> bool | None:
        """Return whether repeats together keep every limit; None if their sample is too small.

        The percentiles are those of all latencies of all repeats.
        """
        if any(cell.wrong or cell.failed > MAX_FAILURE_SHARE * cell.requests for cell in cells):
            return False
        latencies = np.concatenate([np.asarray(cell.latencies_ms, float) for cell in cells])
        lost = sum(cell.failed for cell in cells)
        if any(len(latencies) < SUPPORT[rank] for rank, _ in self.limits_ms):
            return None
        return all(_rank(latencies, rank, lost) <= limit for rank, limit in self.limits_ms)


def rough_percentile(cell: Cell, rank: int) -> float:
    """Return a percentile of a cell even if the sample is too small for a reliable one."""
    return _rank(np.asarray(cell.latencies_ms, float), rank, cell.failed + cell.wrong)


def _rank(latencies: np.ndarray, rank: int, lost: int) -> float:
    place = math.ceil((len(latencies) + lost) * rank / 100) - 1
    return float(np.sort(latencies)[place]) if 0 <= place < len(latencies) else math.inf


def parse_slo(text: str) -> Slo:
    """Parse an objective; raise UnusableInputError if the text is not one."""
    limits: dict[int, float] = {}
    for part in text.replace(" ", "").lower().split(","):
        match = PART.fullmatch(part)
        rank = int(match["rank"]) if match else 0
        if match is None or rank not in SUPPORT or rank in limits or not float(match["value"]):
            known = ", ".join(f"p{rank}" for rank in SUPPORT)
            raise UnusableInputError(
                f"{part!r} is no objective: write p95=100ms, or several with commas"
                f" (percentiles: {known}, each once; units: ms, s)"
            )
        limits[rank] = float(match["value"]) * UNITS[match["unit"]]
    return Slo(text, tuple(sorted(limits.items())))
