from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tiankong.bench.proof import comparisons, kills, wrk
from tiankong.bench.proof.slowed import SlowedEngine
from tiankong.bench.serving.served import in_force, serve
from tiankong.server.settings import Settings
from tiankong.toolkit.engines.predictor import Engine
from tiankong.toolkit.engines.text import Batch
from tiankong.toolkit.gate.gold import read_gold


class Counting(Engine):
    def __init__(self) -> None:
        self.calls = 0

    def logits(self, batch: Batch) -> np.ndarray:
        self.calls += 1
        return np.zeros((1, 3), np.float32)


def test_a_share_of_the_inferences_is_made_twice() -> None:
    inner = Counting()
    slowed = SlowedEngine(inner, 0.25)
    for _ in range(40):
        slowed.logits(cast(Batch, None))
    assert inner.calls == 50


def test_the_slowed_server_runs_under_the_settings_and_limits_of_the_plain_one(home: Any) -> None:
    built = home.variants["onnx-int8"]  # shares the cores and computes no padding
    with serve("reference", Settings(folder=built.folder)) as plain:
        expected = in_force(plain.target, "onnx-int8")
    with comparisons.slowed(built, 0.25) as slowed:
        assert in_force(slowed.target, "onnx-int8") == expected
    assert expected["unpads"] or expected["least_threads"] < expected["threads"]


def test_the_table_counts_every_verdict_apart() -> None:
    def entry(kind: str, disturbed: bool, verdict: str, ratio: float) -> dict[str, Any]:
        result = {"verdict": verdict, "ratio": ratio}
        return {"kind": kind, "disturbed": disturbed, "seconds": 46.7, "result": result}

    entries = [
        entry("same", False, "too close to call", 1.01),
        entry("same", False, "faster", 1.05),
        entry("slower", True, "slower", 0.85),
        {"kind": "calibration", "seconds": 150.0, "result": {"verdict": "slower", "ratio": 0.8}},
    ]
    rows = comparisons.summary(entries).splitlines()[2:]
    assert rows == [
        "| nothing | none | 2 | 0 | 1 | 1 | 1.010 to 1.050 | 47 s |",
        "| 0.85 x | on one core | 1 | 1 | 0 | 0 | 0.850 to 0.850 | 47 s |",
    ]


def test_both_generators_side_by_side() -> None:
    def window(qps: float, p95_ms: float, stolen: float = 0.5) -> dict[str, float]:
        return {"qps": qps, "p95_ms": p95_ms, "stolen_percent": stolen}

    rounds = [
        {"locust": window(98, 11), "wrk": window(100, 10)},
        {"locust": window(50, 30), "wrk": window(100, 10, stolen=2.5)},  # not set side by side
        {"locust": window(100, 11), "wrk": window(98, 10)},
    ]
    (row,) = wrk.summary([{"users": 4, "rounds": rounds}]).splitlines()[2:]
    assert row.startswith("| 4 | 2 of 3 | 98.99 | 98.99 | 1.000 (0.7")
    assert row.endswith(" | 11 ms | 10 ms | 1.100 (1.100–1.100) |")


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_loads_a_real_server(home: Any) -> None:
    with serve("reference", Settings(folder=home.variants["onnx-int8"].folder)) as server:
        found = wrk.wrk(server.url, read_gold().texts()[:8], 2, 2)
    assert found["qps"] > 10
    assert 0 < found["p50_ms"] <= found["p95_ms"]


def test_a_sweep_survives_kills(home: Any, tmp_path: Path) -> None:
    plan = tmp_path / "kills.toml"
    short = kills.PLAN.replace("repeats = 2", "repeats = 1").replace("seconds = 3", "seconds = 1")
    plan.write_text(short, encoding="utf-8")
    assert kills.prove("builtin-small", plan, 2, random.Random(4), kills.CELLS // 2) == 0


def test_schemes_are_made_asked_and_timed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiankong.bench.proof import schemes

    monkeypatch.setattr("sys.argv", ["schemes", "--model", "builtin-small", "--rounds", "1"])
    schemes.main()
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines[2:]}
    assert list(rows) == ["float", "static", "per-tensor", "dynamic", "nbits"]
    divergence = {name: float(cells[2].split()[0]) for name, cells in rows.items()}
    assert divergence["float"] == 0
    assert divergence["per-tensor"] > 2 * divergence["static"] > 0
    size = {name: float(cells[0]) for name, cells in rows.items()}
    assert size["static"] < size["dynamic"] < size["nbits"] < size["float"]
