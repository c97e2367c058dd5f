"""Real kernels at real rates."""

from __future__ import annotations

import math

import pytest

from tiankong.bench.explain import ceilings, memory
from tiankong.bench.explain.ceilings import Ceilings, Kernel
from tiankong.bench.explain.kernels import multiplication
from tiankong.bench.explain.kernels.multiplication import (
    ONNXRUNTIME,
    OPENVINO,
    Multiplication,
    installed,
)
from tiankong.bench.explain.workload import BF16, FP32, INT8
from tiankong.toolkit import machine
from tiankong.toolkit.machine import cache_bytes

SHAPES = [(64, 256), (256, 64)]
PARAMETERS = 10 * 64 * 256


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LEAST_ARRAY", 1 << 20)
    monkeypatch.setattr(memory, "CACHES", 0)
    monkeypatch.setattr(ceilings, "CELL_SECONDS", 0.01)
    monkeypatch.setattr(ceilings, "TRY_SECONDS", 0.002)


def has(*flags: str) -> dict[str, object]:
    return machine.fingerprint() | {"isa": list(flags), "cpu_family": "25/17"}


@pytest.mark.usefixtures("quick")
def test_every_ceiling_is_measured_at_one_core_and_at_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        ceilings, "fingerprint", lambda: has("avx512f", "avx512_vnni", "avx512_bf16")
    )
    measured = Ceilings(SHAPES, {1, 2}, PARAMETERS)
    measured.measure()
    measured.measure()
    expected = {(p, n) for p in (FP32, INT8) for n in (1, 2)}
    if installed("torch") or installed(OPENVINO):
        expected |= {(BF16, 1), (BF16, 2)}
        assert measured.missing == {}
    assert set(measured.best) == expected
    for key, ceiling in measured.best.items():
        own = [kernel for kernel in measured.kernels if kernel.key == key]
        assert {kernel.cell.weights for kernel in own} == {10}  # as many as the model has
        assert ceiling.rates == [max(k.cold[n] for k in own) for n in range(2)]
        assert ceiling.hot == [max(k.hot[n] for k in own) for n in range(2)]
        assert all(0 < rate < 1e7 and math.isfinite(rate) for rate in ceiling.rates)
        assert (ceiling.cell.inner, ceiling.cell.columns) in SHAPES
    assert {each.cores for each in measured.bandwidths} == {1, 2}
    assert all(0 < each.typical < 1e5 for each in measured.bandwidths)
    assert measured.giga(1, 0)[FP32] == measured.best[FP32, 1].rates[0]
    assert measured.giga(1, 0, hot=True)[FP32] == measured.best[FP32, 1].hot[0]
    peak = measured.best[INT8, 2].peak
    assert peak is None or peak == pytest.approx(128 * max(measured.peak.clocks[2]))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("isa", "reason"),
    [((), "this CPU has no BF16 instructions"), (("avx512_bf16",), "needs torch or openvino")],
)
def test_where_one_engine_is_installed(
    isa: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiplication, "installed", lambda name: name == ONNXRUNTIME)
    monkeypatch.setattr(ceilings, "fingerprint", lambda: has(*isa))
    measured = Ceilings(SHAPES[:1], {1}, PARAMETERS, (FP32,))
    measured.measure()
    assert reason in measured.missing[BF16]
    assert set(measured.giga(1)) == {FP32}
    assert {kernel.cell.library for kernel in measured.kernels} == {ONNXRUNTIME}
    assert measured.contrasts(ONNXRUNTIME, [FP32]) == []


@pytest.mark.usefixtures("quick")
def test_a_version_without_a_kernel_is_left_out_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ceilings.open_calls

    def opened(cell: Multiplication) -> object:
        if cell.library != ONNXRUNTIME or cell.form == "MatMulInteger":
            raise AttributeError("no such operator")
        return whole(cell)

    monkeypatch.setattr(ceilings, "open_calls", opened)
    measured = Ceilings(SHAPES[:1], {1}, PARAMETERS, (INT8,))
    measured.measure()
    assert {kernel.cell.form for kernel in measured.kernels} == {"MatMulIntegerToFloat"}
    for library in ("torch", OPENVINO):
        if installed(library):
            assert measured.missing[f"{INT8} by {library}"] == ceilings.UNUSABLE


@pytest.mark.usefixtures("quick")
def test_the_best_other_library_is_compared_round_by_round() -> None:
    measured = Ceilings(SHAPES[:1], {1}, PARAMETERS, (FP32,))
    of = {
        name: Multiplication(INT8, name, "", 1, 1, 1, 1, 1)
        for name in ("onnxruntime", "openvino", "torch")
    }
    measured.kernels = [
        Kernel(of["onnxruntime"], [100.0, 200.0, 100.0]),
        Kernel(of["openvino"], [150.0, 150.0, 180.0]),
        Kernel(of["torch"], [900.0, 10.0, 10.0]),  # once only
    ]
    (contrast,) = measured.contrasts("onnxruntime", [INT8, BF16])
    assert (contrast.own, contrast.other) == ("onnxruntime", "openvino")
    assert contrast.ratios == (1.5, 0.75, 1.8)
    assert contrast.ratio == 1.5


def test_the_cache_is_known_here_or_nothing() -> None:
    assert cache_bytes() == 0 or cache_bytes() >= 1 << 15
