"""Nominal peaks: what is known, and what is said to be unknown."""

from __future__ import annotations

from typing import Any

import pytest

from tiankong.bench.explain.peak import KNOWN, UNKNOWN_UNITS, Peak, microarchitecture
from tiankong.bench.explain.workload import BF16, FP32, INT8


def machine(cpu_family: str, *isa: str) -> dict[str, Any]:
    return {"cpu_family": cpu_family, "isa": list(isa)}


AVX512 = ("avx2", "avx512f", "avx512_vnni")
AMX = (*AVX512, "avx512_bf16", "amx_int8", "amx_bf16")


@pytest.mark.parametrize(
    ("of", "operations"),
    [
        (machine("25/17", *AVX512, "avx512_bf16"), {FP32: 32, INT8: 128, BF16: 64}),
        (machine("26/2", *AVX512, "avx_vnni", "avx512_bf16"), {FP32: 64, INT8: 256, BF16: 128}),
        (machine("6/143", *AMX), {FP32: 64, INT8: 2048, BF16: 1024}),
        (machine("6/106", *AVX512), {FP32: 64, INT8: 256}),
        (machine("25/1", "avx2"), {FP32: 32}),
        # A hypervisor hides AMX: VNNI is what is left, and BF16 by AVX-512 is not known there.
        (machine("6/143", *AVX512, "avx512_bf16"), {FP32: 64, INT8: 256}),
        (machine("6/143", "avx2"), {FP32: 32}),
    ],
)
def test_operations_a_cycle(of: dict[str, Any], operations: dict[str, int]) -> None:
    peak = Peak.of(of)
    assert {name: units.operations for name, units in peak.units.items()} == operations


@pytest.mark.parametrize("family", ["6/151", "26/36", "0x41/0xd0c", "?/?", "7/27"])
def test_what_is_not_known_is_said(family: str) -> None:
    peak = Peak.of(machine(family, *AMX))
    peak.add(1, [3.0], 1)
    assert peak.why == UNKNOWN_UNITS
    assert peak.giga(INT8, 1) is None
    assert peak.as_json()["units"] == []


def test_a_peak_is_units_times_cycles() -> None:
    peak = Peak.of(machine("25/17", *AVX512))
    assert peak.giga(INT8, 2) is None  # no cycles counted
    peak.add(2, [3.0, 3.2], 2)
    peak.add(2, [3.4, 3.6], 2)
    assert peak.giga(INT8, 2) == pytest.approx(128 * 7.0)  # the better round
    assert peak.giga(BF16, 2) is None
    assert peak.as_json()["giga_cycles_per_second"] == {"2": pytest.approx(7.0)}


def test_two_hardware_threads_of_a_core_share_its_units() -> None:
    peak = Peak.of(machine("6/143", *AMX))
    peak.add(2, [3.0, 3.0], 1)
    assert peak.giga(INT8, 2) == pytest.approx(2048 * 3.0)


def test_no_model_is_known_twice() -> None:
    models = [(core.family, model) for core in KNOWN for model in core.models]
    assert len(models) == len(set(models))
    assert microarchitecture("6/85") is not None
