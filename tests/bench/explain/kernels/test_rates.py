"""Calls are counted, alone and side by side."""

from __future__ import annotations

import time

import pytest

from tiankong.bench.explain.kernels.rates import calls_per_second, side_by_side


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


def test_each_call_is_worked_on_once_and_prepared() -> None:
    prepared: list[int] = []
    calls = [lambda: 1, lambda: 2]
    said = side_by_side(calls, lambda call: call(), lambda: prepared.append(0))
    assert (said, len(prepared)) == ([1, 2], 2)
