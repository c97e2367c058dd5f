"""Processes that start with one CPU in their mask, and with all."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tiankong.bench.explain import starts
from tiankong.bench.explain.kernels.multiplication import ONNXRUNTIME, Multiplication
from tiankong.bench.explain.starts import PAIRS, Start, Starts, may_use_tiles, measure_starts
from tiankong.bench.explain.workload import INT8

CELL = Multiplication(INT8, ONNXRUNTIME, "MatMulInteger", 16, 64, 64, 2, 1, weights=2)


def test_real_processes_start_with_the_masks_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    found = measure_starts(CELL, 1)
    assert found is not None
    assert (found.cell.callers, found.cell.threads) == (1, 1)
    assert [start.cpus for start in found.one] == [1]
    assert [start.cpus for start in found.whole] == [len(before)]
    assert all(0 < start.giga < 1e5 and 0 < start.busy < 1.5 for start in found.one)
    assert found.tiles in (None, False, True)
    assert not found.slower  # one pair proves nothing
    assert os.sched_getaffinity(0) == before


def test_where_no_process_can_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measure_starts(replace(CELL, form="no such operator"), 1) is None


def series(*giga: float, cpus: int = 2) -> list[Start]:
    return [Start(cpus, each, 1.0, None) for each in giga]


@pytest.mark.parametrize(
    ("one", "whole", "slower"),
    [
        ((400, 410, 420), (900, 950, 1000), True),
        ((400, 410, 920), (900, 950, 1000), False),  # they overlap
        ((800, 810, 820), (900, 950, 1000), False),  # not much
        ((400, 410), (900, 950), False),  # too few
    ],
)
def test_slower_is_every_one_and_clearly(
    one: tuple[float, ...], whole: tuple[float, ...], slower: bool
) -> None:
    assert Starts(CELL, series(*one, cpus=1), series(*whole)).slower is slower
    assert not Starts(CELL, series(*one, cpus=1), series(*whole, cpus=1)).slower


def test_a_cause_is_looked_for_where_one_cpu_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def start(
        _: Multiplication, cpus: Collection[int], change: Mapping[str, str] | None = None
    ) -> Start:
        asked.append(change)
        cured = bool(change and "OPENBLAS_NUM_THREADS" in change)
        return Start(len(cpus), 1000.0 if len(cpus) > 1 or cured else 450.0, 1.0, False)

    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(starts, "_start", start)
    found = measure_starts(CELL)
    assert found is not None
    assert found.ratio == pytest.approx(0.45)
    assert found.restored == ["OPENBLAS_NUM_THREADS=2"]
    assert len(asked) == 2 * PAIRS + len(starts.CHANGES)


def test_the_rights_to_tiles_are_asked_of_the_kernel() -> None:
    assert may_use_tiles() in (None, False, True)
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    if "amx_tile" not in flags:
        assert not may_use_tiles()
