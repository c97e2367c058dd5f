"""Cycles are counted, not read from a name."""

from __future__ import annotations

import mmap
import os
from types import SimpleNamespace
from typing import Any

import pytest

from tiankong.bench.explain import clock
from tiankong.bench.explain.clock import X86, counter, gigahertz

on_x86 = pytest.mark.skipif(os.uname().machine not in X86, reason="x86 only")


@on_x86
def test_a_core_makes_some_10_to_the_9_cycles_a_second() -> None:
    cycles = counter()
    assert cycles is not None
    called: list[int] = []
    clocks = gigahertz(cycles, [lambda: called.append(0)] * 2)
    assert len(clocks) == 2
    assert len(called) == 2 * (clock.SAMPLES + 1)
    assert all(0.2 < each < 8 for each in clocks)


@on_x86
def test_twice_the_additions_are_twice_the_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 5.0, 5.5])
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    cycles = counter()
    assert cycles is not None
    assert cycles.hertz() == clock.SAMPLE_CYCLES
    assert cycles.hertz() == 2 * clock.SAMPLE_CYCLES


def test_where_a_process_may_not_run_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert counter() is None


def test_another_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="aarch64"))
    assert counter() is None
