"""How fast ONNX Runtime runs a graph at each of its optimization levels."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import psutil

from ...toolkit.engines.onnx_engine import MASK_LOGITS, TOP_IDS, TOP_SCORES, TYPES, feed
from ...toolkit.engines.text import Batch
from .kernels.rates import timed

HIGHEST, *LOWER = (
    ("all", onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL),
    ("extended", onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED),
    ("basic", onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC),
    ("none", onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL),
)
TURNS, FEWEST_TURNS = 7, 3
FASTER = 1.1  # times as fast, on the median of the turns; and faster in every turn
CLEARLY = 2.0  # times as fast in every turn, where there are few
COPIES = 3  # of a file in memory, at most: as read, as packed, and what a session needs besides
LONGEST_MS = 1000.0  # where a call takes so long, there are few turns


@dataclass(frozen=True)
class Level:
    """A level's time for one call, and the highest level's time over it in each turn.

    A ratio above 1 means that the graph runs faster at this level than at the highest.
    """

    name: str
    ms: float
    ratios: Sequence[float]

    @property
    def ratio(self) -> float:
        """The median of the turns."""
        return statistics.median(self.ratios)

    @property
    def faster(self) -> bool:
        """Whether the highest level is slower than this one, beyond noise."""
        if len(self.ratios) < FEWEST_TURNS:
            return False
        least = 1.0 if len(self.ratios) >= TURNS else CLEARLY
        return self.ratio >= FASTER and min(self.ratios) > least

    def as_json(self) -> dict[str, Any]:
        """Return the level as a JSON object."""
        return {"level": self.name, "ms": self.ms, "highest_over_it": list(self.ratios)}


def measure_levels(path: Path, batch: Batch) -> list[Level]:
    """Time a batch at each level, on one thread, in turns with the highest level.

    Only two sessions are open at once.  Where memory has no room for both nothing is measured.
    """
    if psutil.virtual_memory().available < 2 * COPIES * _bytes(path):
        return []
    highest = _Session(path, HIGHEST[1])
    highest_ms: list[float] = []
    levels: list[Level] = []
    for name, level in LOWER:
        lower = _Session(path, level)
        for session in (highest, lower):
            session.run(batch)
        pairs: list[tuple[float, float]] = []
        while len(pairs) < FEWEST_TURNS or (len(pairs) < TURNS and max(pairs[-1]) < LONGEST_MS):
            pairs.append((timed(partial(highest.run, batch)), timed(partial(lower.run, batch))))
        highest_ms += [ms for ms, _ in pairs]
        own = statistics.median(ms for _, ms in pairs)
        levels.append(Level(name, own, [first / second for first, second in pairs]))
    return [Level(HIGHEST[0], statistics.median(highest_ms), [1.0]), *levels]


def _bytes(path: Path) -> int:
    """Return the size of a graph and of the weights that lie beside it."""
    return sum(each.stat().st_size for each in path.parent.iterdir() if each.is_file())


class _Session:
    """A session at a level, warm."""

    def __init__(self, path: Path, level: Any) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.graph_optimization_level = level
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs, self._outputs = usual_ends(self._session)

    def run(self, batch: Batch) -> None:
        self._session.run(self._outputs, feed(batch, self._inputs))


def usual_ends(session: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of a session's inputs, and the outputs that the engine asks for."""
    inputs = {entry.name: TYPES.get(entry.type) for entry in session.get_inputs()}
    outputs = [entry.name for entry in session.get_outputs()]
    ranked = [name for name in (TOP_SCORES, TOP_IDS) if name in outputs]
    return inputs, ranked or [MASK_LOGITS if MASK_LOGITS in outputs else outputs[0]]
