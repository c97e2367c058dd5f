"""What a search for settings found: its trials, the best settings and the usual ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...toolkit.runs.cell import Cell
from .slo import rough_percentile
from .space import Setup


@dataclass(frozen=True)
class Trial:
    """A choice asked by so many users: its score is QPS, less what came too late."""

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
    """A choice at the load it was confirmed at: QPS with its 95 % interval."""

    choice: Setup
    users: int
    qps: float
    low: float
    high: float
    held: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self) | {"choice": self.choice.as_json()}


@dataclass(frozen=True)
class Tuned:
    """What was found: the best settings, the usual ones beside them, and every trial.

    They are the same if nothing was confirmed to be better than the usual ones.
    """

    variant: str
    slo: str
    best: Confirmed
    usual: Confirmed
    trials: Sequence[Trial]
    run: Path

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {
            "variant": self.variant,
            "slo": self.slo,
            "settings": self.best.choice.as_json(),
            "best": self.best.as_json(),
            "usual": self.usual.as_json(),
            "trials": [trial.as_json() for trial in self.trials],
            "run": str(self.run),
        }
