"""bench/explain/findings.py: what ``explain --json`` says, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiankong.bench.explain import findings
from tiankong.bench.explain.ceilings import Ceiling, Kernel
from tiankong.bench.explain.findings import Explanation, Measured, Request, Share
from tiankong.bench.explain.flags import Flag
from tiankong.bench.explain.kernels.multiplication import Multiplication
from tiankong.bench.explain.levels import Level
from tiankong.bench.explain.memory import Bandwidth
from tiankong.bench.explain.operators import Group
from tiankong.bench.explain.peak import Peak, Units
from tiankong.bench.explain.starts import Start, Starts
from tiankong.bench.explain.subject import Profile
from tiankong.bench.explain.workload import Floor, Product, Workload

WRITTEN = Path(__file__).parent / "explanation.json"


def measured(batch: int, rate: float) -> Measured:
    products = [Product("int8", 16 * batch, 256, 1024, weight_bytes=262144),
                Product("fp32", 16, 64, 16, 4 * batch, inside=True)]  # fmt: skip
    work = Workload(16, batch, products, activation_bytes=65536 * batch, large_bytes=4096)
    return Measured(
        work,
        Floor(0.5 * batch, 0.25), 1.25 * batch, Share(0.4, 0.375, 0.5),
        Floor(0.125, 0.75), rate, Share(0.625, 0.5, 0.75),
        Share(0.25, 0.125, 0.375), Share(0.5, 0.25, 0.625),
    )  # fmt: skip


def explanation() -> Explanation:
    cell = Multiplication("int8", "onnxruntime", "MatMulInteger", 1024, 256, 1024, 1, 2)
    groups = [Group("matrix products", 25, 0.75, 0.5), Group("casts", 2, 0.125)]
    return Explanation(
        variant="onnx-int8", model="builtin-small", engine="onnxruntime", library="onnxruntime",
        threads=2, streams=2, rounds=3,
        ceilings=[Ceiling("int8", 2, cell, [100.0, 125.0, 75.0], [125.0, 150.0, 112.5], 200.0)],
        kernels=[Kernel(cell, [100.0, 125.0, 75.0], [125.0, 150.0, 112.5])],
        peak=Peak("AMD Zen 4", {"int8": Units("int8", "AVX-512 VNNI", 128)}, {2: [1.5, 1.25]}),
        missing={"bf16": "this CPU has no BF16 instructions"},
        bandwidths=[Bandwidth(1, 1 << 28, [10.0, 12.5, 11.25])],
        points=[measured(1, 400.0), measured(8, 1600.0)],
        profiles=[Profile(16, 1, 2, 1, 1.25, groups, 0.0625)],
        casts={"float to float16": 2},
        request=Request(16, 1.5, 0.125, 1.25, 0.125),
        flags=[Flag("padding", "note", "11% of the tokens are padding", "put like together")],
        others_percent=1.5,
        starts=[Starts(cell, [Start(1, 50.0, 1.0, None)], [Start(2, 100.0, 1.0, False)])],
        levels=[Level("all", 1.5, [1.0]), Level("basic", 1.25, [1.25, 1.125])],
        machine={"cpu": "a CPU", "isa": ["avx2"]},
        versions={"onnxruntime": "1.0"},
    )  # fmt: skip


def test_the_json_of_an_explanation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "cache_bytes", lambda: 33554432)
    text = json.dumps(explanation().as_json(), indent=1) + "\n"
    assert text == WRITTEN.read_text(encoding="utf-8")
