"""Every reason that makes a cell invalid, planted into a cell that has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tiankong.toolkit.runs.cell import UNANSWERED, Cell
from tiankong.toolkit.runs.validity import CODES, SWAPPED_BYTES, invalidating

NEVER_INVALID = {"hides-stalls", "too-few"}
INVALIDATING = [code for code in CODES if code not in NEVER_INVALID]
PLANTED: dict[str, Callable[[Cell], dict[str, Any]]] = {
    "wrong-answers": lambda _: {"wrong": 1},
    "no-requests": lambda _: {"latencies_ms": (), "ends_ms": ()},
    "failures": lambda cell: {"failures": {"HTTP 503": 1 + len(cell.latencies_ms) // 100}},
    "unanswered": lambda cell: {"failures": {UNANSWERED: max(1, cell.load.users)}},
    "machine-changed": lambda _: {"changes": ("kernel",)},
    "generator-saturated": lambda _: {"generator_core_percent": 99.0},
    "generator-starved": lambda _: {"generator_late_ms": 10_000.0},
    "throttled": lambda _: {"throttled_percent": 60.0},
    "stolen": lambda _: {"steal_percent": 9.0},
    "swapped": lambda _: {"swapped_bytes": 9 * SWAPPED_BYTES},
    "machine-busy": lambda _: {"other_cpu_percent": 50.0},
    "little": lambda cell: {"latencies_ms": tuple(ms * 0.8 for ms in cell.latencies_ms)},
    "unstable": lambda cell: {"ends_ms": tuple(end * 2 / 3 for end in cell.ends_ms)},
}


def planted(cell: Cell, code: str) -> Cell:
    """Return a cell with a reason that makes it invalid; few answers cannot show every reason."""
    return replace(cell, **PLANTED[code](cell))


def require_planted(cell: Cell, code: str) -> None:
    """Fail unless the reason is found in the cell."""
    assert code in {warn.code for warn in invalidating(planted(cell, code))}
