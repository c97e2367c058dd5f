"""A ground on which a made-up server is searched: no process, no load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from made_up import Interrupted

from tiankong.bench.load.generator import Generators
from tiankong.bench.search.capacity import (
    CONFIRMATION,
    PROBE,
    Capacity,
    CapacityTerms,
    capacity,
)
from tiankong.bench.sweep.measure import Window
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import OPEN, Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.slo import parse_slo

MODEL = {"name": "m"}
RECIPE = SimpleNamespace(engine="onnxruntime", summary="")
MANIFEST = SimpleNamespace(
    variant="a", model=MODEL, digest="ab", size=1, model_file_size=1, recipe=RECIPE, notes={},
    gate=None,
)  # fmt: skip
SERVICE_MS, SERVERS = 20.0, 2
CLOSED_TERMS = CapacityTerms(parse_slo("p95=100ms"))
OPEN_TERMS = replace(CLOSED_TERMS, mode=OPEN)
FASTEST = 100.0  # answers a second the made-up server can give

Spoil = Callable[[Cell], Cell]


def level(point: Point) -> float:
    """Return the level of a point: its users or its rate."""
    return point.load.users if point.load.rate is None else point.load.rate


def probe(users: int) -> Point:
    return Point("a", "reference", Load(users), stage=PROBE)


def confirmation(users: int, repeat: int) -> Point:
    return Point("a", "reference", Load(users), repeat, CONFIRMATION)


class FakeGround:
    """A simulated server: two streams of 20 ms each; in an open loop, M/M/1."""

    def __init__(self) -> None:
        self.variants = {"a": SimpleNamespace(manifest=MANIFEST)}
        self.gold = SimpleNamespace(name="gold", digest="cd", items=[1])
        self.generators, self.target = Generators(), None
        self.measured: list[tuple[Point, int]] = []
        self.windows: list[Window] = []
        self.patience = 1000
        self.spoil: Spoil = lambda cell: cell

    @property
    def probed(self) -> list[float]:
        """The levels of the probes."""
        return [level(p) for p, _ in self.measured if p.stage == PROBE]

    @property
    def confirmed(self) -> list[float]:
        """The levels of the confirming runs."""
        return [level(p) for p, _ in self.measured if (p.stage, p.repeat) == (CONFIRMATION, 1)]

    def as_json(self) -> dict[str, Any]:
        return {"generators": vars(self.generators), "target": self.target}

    def measure(self, point: Point, window: Window) -> Cell:
        if len(self.measured) == self.patience:
            raise Interrupted
        self.measured.append((point, window.attempt))
        self.windows.append(window)
        number = point.repeat + (point.stage == CONFIRMATION)
        source = np.random.default_rng([int(level(point) * 1000), number, window.attempt])
        times = self._open if point.load.is_open else self._closed
        latencies, ends = times(level(point), window.seconds, source)
        order = np.argsort(ends)
        cell = Cell(
            point, window.seconds, tuple(latencies[order].tolist()), "now",
            attempt=window.attempt, ends_ms=tuple(ends[order].tolist()),
        )  # fmt: skip
        return self.spoil(cell)

    def _closed(self, users: float, seconds: float, source: Any) -> tuple[Any, Any]:
        mean = SERVICE_MS * max(1.0, users / SERVERS)
        count = int(users / mean * 1000 * seconds)
        noise = np.exp(source.normal(0, 0.1, count))
        return mean * noise / noise.mean(), np.linspace(1, 1000 * seconds - 1, count)

    def _open(self, rate: float, seconds: float, source: Any) -> tuple[Any, Any]:
        count = max(1, int(rate * seconds))
        due = np.linspace(1, 1000 * seconds - 1, count)
        if rate >= FASTEST:  # the queue grows and grows
            latencies = 10 + due * (rate / FASTEST - 1)
        else:  # every quantile of the exponential distribution once
            shares = source.permutation((np.arange(count) + 0.5) / count)
            latencies = -1000 / (FASTEST - rate) * np.log(1 - shares)
        return latencies, due + latencies


def searched(ground: Any, terms: CapacityTerms = CLOSED_TERMS) -> Capacity:
    return capacity("a", terms, ground)
