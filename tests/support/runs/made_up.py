"""A simulated server to tune, and what tests of searches share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiankong.bench.search.space import SHARED, Setup
from tiankong.bench.sweep.measure import Window
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.slo import parse_slo

SLO = parse_slo("p95=100ms")
USUAL = Setup(2, 2, 8)
TEN_MINUTES = 600.0
FOLDER = Path("nowhere")


def number_runs(patch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Name a module's runs by number, because names by the second would not be unique."""
    real, numbers = module.new_header, count()

    def header(name: str, *words: Any, **named: Any) -> Any:
        return replace(real(name, *words, **named), run=f"{next(numbers):02}-{name}-m")

    patch.setattr(module, "new_header", header)


class Interrupted(BaseException):
    """Stands for the user's Ctrl-C."""


class FakeGround:
    """A simulated server, whose speed is a formula of its settings and the number of users."""

    def __init__(
        self,
        engine: str = "onnxruntime",
        slow: float = 1.0,
        mates: str = "any",
        variants: Mapping[str, float] = MappingProxyType({"a": 1.0}),
    ) -> None:
        """``variants`` have their speed."""
        recipe = SimpleNamespace(engine=engine, summary="")
        self.speeds = variants
        self.variants = {}
        for name in variants:
            manifest = SimpleNamespace(
                variant=name, model={"name": "m"}, digest="ab", size=1, model_file_size=1,
                recipe=recipe, notes={}, gate=None, mates=mates,
            )  # fmt: skip
            self.variants[name] = SimpleNamespace(manifest=manifest, folder=FOLDER)
        self.gold = SimpleNamespace(name="gold", digest="cd", items=[1])
        self.slow = slow
        self.measured: list[tuple[Setup, int, float]] = []
        self.patience = 10_000

    def as_json(self) -> dict[str, Any]:
        return {"target": ""}

    def rate(self, choice: Setup, users: int) -> float:
        """Return requests per second: a sentence alone takes 10 ms, in a batch of 16 a third."""
        batch = max(1.0, min(choice.max_batch, users / (choice.streams + 1)))
        speed = 100 * (1 + 2 * np.log2(batch) / 4)
        speed *= {1: 1.0, 2: 0.9, 4: 0.8}[choice.streams]
        speed *= {SHARED: 1.02, 1: 0.95, 2: 1.0}[choice.threads]
        return float(speed * (0.8 if choice.spin else 1.0) / self.slow * min(1.0, users / 2))

    def measure(
        self,
        point: Point,
        window: Window,
    ) -> Cell:
        if len(self.measured) == self.patience:
            raise Interrupted
        users, seconds = point.load.users, window.seconds
        choice = Setup(**(dict(point.settings) or USUAL.as_json()))
        self.measured.append((choice, users, seconds))
        source = np.random.default_rng(list(repr(point).encode()))
        rate = self.rate(choice, users) * self.speeds[point.variant]
        rate *= float(np.exp(source.normal(0, 0.02)))
        requests = max(1, int(rate * seconds))
        rate = requests / seconds  # of whole requests, so that Little's law holds
        noise = np.exp(source.normal(0, 0.15, requests))
        latencies = 1000 * users / rate * noise / noise.mean()
        ends = np.linspace(1, 1000 * seconds - 1, requests)
        return Cell(
            point, seconds, tuple(latencies.tolist()), "now",
            ends_ms=tuple(ends.tolist()), settings=choice.as_json(),
        )  # fmt: skip
