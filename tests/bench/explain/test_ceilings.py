"""Real kernels at real rates."""

from __future__ import annotations

import math
import time

import pytest

from tiankong.bench.explain import ceilings
from tiankong.bench.explain.ceilings import (
    ONNXRUNTIME,
    TORCH,
    Ceilings,
    Multiplication,
    calls_per_second,
)
from tiankong.bench.explain.workload import BF16, FP32, INT8
from tiankong.toolkit.machine import cache_bytes

SHAPES = [(64, 256), (256, 64)]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "LEAST_ARRAY", 1 << 20)
    monkeypatch.setattr(ceilings, "CACHES", 0)
    monkeypatch.setattr(ceilings, "CELL_SECONDS", 0.01)
    monkeypatch.setattr(ceilings, "TRY_SECONDS", 0.002)


@pytest.mark.usefixtures("quick")
def test_every_ceiling_is_measured_at_one_core_and_at_more() -> None:
    kernels = {ONNXRUNTIME: (FP32, INT8), TORCH: (FP32, BF16)}
    measured = Ceilings(SHAPES, {1, 2}, kernels, ["avx512_bf16"])
    measured.measure()
    measured.measure()
    assert set(measured.best) == {(p, n) for p in (FP32, INT8, BF16) for n in (1, 2)}
    for ceiling in measured.best.values():
        assert len(ceiling.rates) == 2
        assert all(0 < rate < 1e7 and math.isfinite(rate) for rate in ceiling.rates)
        assert (ceiling.cell.inner, ceiling.cell.columns) in SHAPES
    assert measured.missing == {}
    assert {each.cores for each in measured.bandwidths} == {1, 2}
    assert all(0 < each.typical < 1e5 for each in measured.bandwidths)
    assert set(measured.giga(2)) == {FP32, INT8, BF16}
    assert measured.giga(1, 0)[FP32] == measured.best[FP32, 1].rates[0]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("isa", "reason"),
    [([], "this CPU has no BF16 instructions"), (["avx512_bf16"], "needs torch or openvino")],
)
def test_what_is_not_measured_says_why(isa: list[str], reason: str) -> None:
    measured = Ceilings(SHAPES[:1], {1}, {ONNXRUNTIME: (FP32,)}, isa)
    assert reason in measured.missing[BF16]
    measured.measure()
    assert BF16 not in measured.giga(1)


def test_operations_of_a_cell() -> None:
    cell = Multiplication(FP32, ONNXRUNTIME, "MatMul", 1000, 500, 1000, callers=1, threads=2)
    assert cell.giga == pytest.approx(1.0)


@pytest.mark.parametrize("callers", [1, 3])
def test_callers_add_up(callers: int) -> None:
    calls = [lambda: time.sleep(0.01)] * callers
    rate = calls_per_second(calls, 0.2)
    assert 20 * callers < rate <= 100 * callers


def test_a_caller_that_fails_stops_all() -> None:
    def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        calls_per_second([lambda: None, fail, lambda: None], 0.05)


def test_the_cache_is_known_here_or_nothing() -> None:
    assert cache_bytes() == 0 or cache_bytes() >= 1 << 15
