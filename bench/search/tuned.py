"""The result of ``tune``: its trials, the best settings and the usual ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...toolkit.runs.cell import Cell
from ...toolkit.runs.slo import rough_percentile
from .space import Setup


@dataclass(frozen=True)
class Trial:
    """A choice measured under ``users`` users; its score is its QPS reduced for late answers."""

    variant: str
    choice: Setup
    users: int
    rung: int
    cell: Cell
    score: float
    held: bool

    def as_json(self) -> dict[str, Any]:
        """Return the trial as a JSON object."""
        worst = rough_percentile(self.cell, 95)
        return {
            "variant": self.variant,
            **self.choice.as_json(),
            "users": self.users,
            "rung": self.rung,
            "seconds": round(self.cell.seconds, 2),
            "qps": round(self.cell.qps, 3),
            "p95_ms": round(worst, 3) if math.isfinite(worst) else None,
            "score": round(self.score, 3),
            "held": self.held,
        }


@dataclass(frozen=True)
class Confirmed:
    """A choice in the confirming runs: its load, and its QPS with the 95 % interval."""

    variant: str
    choice: Setup
    users: int
    qps: float
    low: float
    high: float
    held: bool

    def as_json(self) -> dict[str, Any]:
        """Return the confirmed choice as a JSON object."""
        return asdict(self) | {"choice": self.choice.as_json()}


@dataclass(frozen=True)
class Tuned:
    """The best settings, the usual ones for comparison, and every trial.

    ``variants`` are those that were chosen among; ``usual`` is of the first.  ``best`` equals
    ``usual`` if nothing else was confirmed to be better.
    """

    variants: Sequence[str]
    slo: str
    best: Confirmed
    usual: Confirmed
    trials: Sequence[Trial]
    run: Path

    @property
    def variant(self) -> str:
        """The variant to serve: that of the best settings."""
        return self.best.variant

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "variant": self.variant,
            "variants": list(self.variants),
            "slo": self.slo,
            "settings": self.best.choice.as_json(),
            "best": self.best.as_json(),
            "usual": self.usual.as_json(),
            "trials": [trial.as_json() for trial in self.trials],
            "run": str(self.run),
        }
