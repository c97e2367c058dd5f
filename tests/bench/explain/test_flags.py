"""Each flag alone, from facts that must raise it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tiankong.bench.explain.ceilings import Contrast
from tiankong.bench.explain.flags import NOTE, WARNING, Facts, flags
from tiankong.bench.explain.kernels.multiplication import Multiplication
from tiankong.bench.explain.levels import TURNS, Level
from tiankong.bench.explain.starts import Start, Starts
from tiankong.bench.explain.workload import BF16, FP16, FP32, INT8

SOUND = Facts(
    isa=("avx512_vnni", "avx512_bf16"), precisions=(FP32,), logical_cpus=8, allowed_cpus=8,
    threads=4,
)  # fmt: skip

AMX = ("avx512_vnni", "amx_int8", "amx_bf16")


def faster(*ratios: float) -> dict[str, Any]:
    return {"contrasts": (Contrast(INT8, "onnxruntime", "openvino", ratios),)}


def started(
    one: float, whole: float, tiles: bool | None = None, library: str = "onnxruntime"
) -> Starts:
    cell = Multiplication(INT8, library, "MatMul", 256, 768, 768, 1, 1)
    masked = [Start(1, one + n, 1.0, tiles) for n in range(3)]
    return Starts(cell, masked, [Start(2, whole + n, 1.0, tiles) for n in range(3)])


def codes(**planted: Any) -> list[tuple[str, str]]:
    return [(flag.code, flag.level) for flag in flags(replace(SOUND, **planted))]


def test_nothing_is_wrong() -> None:
    assert codes() == []


@pytest.mark.parametrize(
    ("planted", "code", "level"),
    [
        ({"isa": ("avx2", "avx512_bf16"), "precisions": (INT8, FP32)}, "no-vnni", WARNING),
        ({"isa": ("avx2", "avx512_bf16")}, "no-vnni", NOTE),
        ({"isa": ("avx_vnni",), "precisions": (BF16,)}, "no-bf16", WARNING),
        ({"isa": ("avx512_vnni",), "precisions": (INT8,)}, "no-bf16", NOTE),
        ({"architecture": "aarch64", "isa": ()}, "unknown-isa", NOTE),
        ({"quota": 2.0}, "threads-over-quota", WARNING),
        ({"quota": 3.5}, "threads-over-quota", WARNING),
        ({"allowed_cpus": 2}, "threads-over-affinity", WARNING),
        ({"environment_threads": 16}, "threads-over-affinity", WARNING),
        ({"spinning": 1.8, "shared": True}, "spinning", WARNING),
        ({"spinning": 1.8, "shared": False}, "spinning", NOTE),
        ({"fp16_operators": 3}, "fp16-compute", WARNING),
        ({"fp16_casts": 2}, "fp16-compute", WARNING),
        ({"precisions": (FP16,)}, "fp16-compute", WARNING),
        ({"unsigned_weights": 5}, "u8u8", WARNING),
        ({"dynamic_scales": 49}, "dynamic-scales", WARNING),
        ({"padding": 0.31}, "padding", NOTE),
        (faster(1.3, 2.0, 1.15), "other-engine-faster", WARNING),
        ({"starts": (started(400, 900),)}, "one-cpu-start", NOTE),
        (
            {"starts": (started(900, 900, False),), "isa": AMX, "precisions": (INT8,)},
            "amx-not-granted",
            WARNING,
        ),
        ({"levels": (Level("basic", 1.0, [1.3] * TURNS),)}, "graph-level", WARNING),
    ],
)
def test_one_plant_gives_one_flag(planted: dict[str, Any], code: str, level: str) -> None:
    assert codes(**planted) == [(code, level)]


@pytest.mark.parametrize(
    "harmless",
    [
        {"quota": 4.0}, {"allowed_cpus": 4}, {"environment_threads": 4}, {"shared": True},
        {"spinning": 0.02, "shared": True}, {"padding": 0.05}, {"precisions": (INT8, BF16)},
        {"isa": ("amx_int8", "amx_bf16")}, faster(1.3, 2.0), faster(1.3, 2.0, 1.05),
        faster(1.15, 1.15, 1.15), {"starts": (started(880, 900),)},
        {"starts": (started(900, 900, True),), "isa": AMX, "precisions": (INT8,)},
        {"starts": (started(900, 900, False),), "precisions": (INT8,)},  # no AMX in this CPU
        {"starts": (started(900, 900, False),), "isa": AMX, "precisions": (FP32,)},
        {"levels": (Level("basic", 1.0, [1.02] * TURNS),)},
    ],
)  # fmt: skip
def test_what_is_harmless_gives_none(harmless: dict[str, Any]) -> None:
    assert codes(**harmless) == []


def test_every_flag_says_what_to_do_and_warnings_come_first() -> None:
    everything = replace(
        SOUND, isa=(), precisions=(INT8,), quota=1.0, allowed_cpus=2, spinning=1.0, shared=True,
        fp16_casts=1, unsigned_weights=1, dynamic_scales=1, padding=0.5,
    )  # fmt: skip
    raised = flags(everything)
    assert len(raised) == 9
    assert all(flag.advice and flag.what and "\n" not in flag.what for flag in raised)
    levels = [flag.level for flag in raised]
    assert levels == sorted(levels, reverse=True)


def test_a_start_with_one_cpu_says_what_restores_it_and_what_is_not_affected() -> None:
    slow, sound = started(400, 900), started(890, 900, library="openvino")
    (flag,) = flags(replace(SOUND, starts=(slow, sound)))
    assert "onnxruntime's int8 products at 45% of their speed" in flag.what
    assert "two CPUs in the mask" in flag.advice
    assert "a variant of openvino" in flag.advice
    cured = replace(slow, restored=["OPENBLAS_NUM_THREADS=2"])
    (flag,) = flags(replace(SOUND, allowed_cpus=1, threads=1, starts=(cured,)))
    assert flag.level == WARNING
    assert flag.advice == "start it with OPENBLAS_NUM_THREADS=2"


def test_the_figures_are_in_the_text() -> None:
    (flag,) = flags(replace(SOUND, quota=1.5))
    assert "4 threads" in flag.what
    assert "1.5 cores" in flag.what
    assert "use 1 threads" in flag.advice
