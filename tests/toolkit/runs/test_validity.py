"""Every code just below and just above its limit, stalls, steady states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cells import changed
from sound_cell import CELL, Change, answers, closed_loop, found, one_gap, thirds

from tiankong.toolkit.runs import validity
from tiankong.toolkit.runs.validity import (
    CODES,
    SWAPPED_BYTES,
    doubts,
    generator_late_limit_ms,
    hidden_wait_ms,
    is_valid,
    littles_users,
)

# code, just within the limit, just beyond it, whether that invalidates, whether it is from outside
LIMITS: list[tuple[str, Change, Change, bool, bool]] = [
    ("wrong-answers", {"wrong": 0}, {"wrong": 1}, True, False),
    ("no-requests", answers(1), answers(0), True, False),
    ("failures", {"failures": {"503": 0}}, {"failures": {"503": 1}}, False, False),
    (
        "failures",
        {"failures": {}},
        {"failures": {"503": 1, "timeout": 1}},
        True,
        False,
    ),
    ("unanswered", {"failures": {"503": 1}}, {"failures": {"unanswered": 1}}, True, False),
    (
        "unanswered",
        {"failures": {}, "users": 20},
        {"failures": {"unanswered": 1}, "users": 20},
        False,
        False,
    ),
    ("machine-changed", {"changes": ()}, {"changes": ("kernel",)}, True, False),
    (
        "generator-saturated",
        {"generator_core_percent": 90.0},
        {"generator_core_percent": 90.1},
        True,
        False,
    ),
    (  # without waiting it would have run 90 % of the time
        "generator-saturated",
        {"generator_core_percent": 62.9, "generator_wait_percent": 30.0},
        {"generator_core_percent": 63.1, "generator_wait_percent": 30.0},
        True,
        False,
    ),
    (
        "generator-starved",
        {"generator_core_percent": 10.0, "generator_wait_percent": 33.3},
        {"generator_core_percent": 10.0, "generator_wait_percent": 33.4},
        True,
        True,
    ),
    ("generator-starved", {"generator_late_ms": 10.0}, {"generator_late_ms": 10.1}, True, True),
    (
        "generator-starved",
        {"generator_late_ms": 25.0} | answers(100, 100.0),
        {"generator_late_ms": 25.1} | answers(100, 100.0),
        True,
        True,
    ),
    ("throttled", {"throttled_percent": 5.0}, {"throttled_percent": 5.1}, True, False),
    ("stolen", {"steal_percent": 2.0}, {"steal_percent": 2.1}, False, True),
    ("stolen", {"steal_percent": 0.0}, {"steal_percent": 5.0}, False, True),
    ("stolen", {"steal_percent": 0.0}, {"steal_percent": 5.1}, True, True),
    (
        "swapped",
        {"swapped_bytes": SWAPPED_BYTES},
        {"swapped_bytes": SWAPPED_BYTES + 1},
        True,
        True,
    ),
    ("machine-busy", {"other_cpu_percent": 5.0}, {"other_cpu_percent": 5.1}, False, True),
    ("machine-busy", {"other_cpu_percent": 0.0}, {"other_cpu_percent": 10.0}, False, True),
    ("machine-busy", {"other_cpu_percent": 0.0}, {"other_cpu_percent": 10.1}, True, True),
    ("little", answers(1000, 10.50), answers(1000, 10.52), True, True),
    ("little", answers(1000, 9.50), answers(1000, 9.48), True, True),
    (
        "unstable",
        thirds((300, 300, 330), (10.0, 10.0, 10.0)),
        thirds((300, 300, 332), (10.0, 10.0, 10.0)),
        False,
        True,
    ),
    (
        "unstable",
        thirds((300, 300, 300), (10.0, 10.0, 10.0)),
        thirds((300, 300, 381), (10.0, 10.0, 10.0)),
        False,
        True,
    ),
    (
        "unstable",
        thirds((300, 300, 300), (10.0, 10.0, 10.0)),
        thirds((300, 300, 384), (10.0, 10.0, 10.0)),
        True,
        True,
    ),
    (
        "unstable",
        thirds((300, 300, 300), (10.0, 10.0, 10.9)),
        thirds((300, 300, 300), (10.0, 10.0, 11.1)),
        False,
        True,
    ),
    (
        "unstable",
        thirds((300, 300, 300), (10.0, 10.0, 10.0)),
        thirds((300, 300, 300), (10.0, 10.0, 12.6)),
        True,
        True,
    ),
    ("hides-stalls", one_gap(119.0), one_gap(121.0), False, False),
    ("too-few", answers(130), answers(129), False, False),
]


@pytest.mark.parametrize(("code", "within", "beyond", "invalidates", "outside"), LIMITS)
def test_every_code_at_its_limit(
    code: str, within: Change, beyond: Change, invalidates: bool, outside: bool
) -> None:
    assert found(changed(CELL, **within), code) == []
    cell = changed(CELL, **beyond)
    (warning,) = found(cell, code)
    assert (warning.invalidates, warning.outside) == (invalidates, outside)
    assert warning.seen
    assert warning.advice
    if invalidates:
        assert not is_valid(cell)


def test_no_code_is_left_out_here() -> None:
    source = Path(validity.__file__).read_text(encoding="utf-8")
    assert {code for code, *_ in LIMITS} == set(re.findall(r'Warn\("([a-z-]+)"', source))
    assert sorted(CODES) == sorted({code for code, *_ in LIMITS})


@pytest.mark.parametrize(
    "change",
    [
        {"generator_core_percent": 90.0},
        {"generator_core_percent": 10.0, "generator_wait_percent": 33.3},
        {"generator_late_ms": 10.0},
        {"other_cpu_percent": 5.0},
        {"steal_percent": 2.0},
        {"throttled_percent": 5.0},
        {"swapped_bytes": SWAPPED_BYTES},
        {"users": 0, "rate": 100.0},
        {"server_cpu_percent": 100.0, "server_quota_percent": 100.0},
        one_gap(119.0),
    ],
)
def test_nothing_else_is_said_at_the_limits(change: Change) -> None:
    assert doubts(changed(CELL, **change)) == []


def test_the_gravest_kind_comes_first() -> None:
    cell = changed(CELL, wrong=1, steal_percent=9.0, users=5, changes=("cpu",))
    codes = [warn.code for warn in doubts(cell)]
    assert codes == ["wrong-answers", "machine-changed", "stolen"]


def test_what_was_seen_is_told_in_numbers() -> None:
    cell = changed(
        CELL, wrong=3, failures={"timeout": 2, "HTTP 503": 5}, changes=("cpu", "kernel"),
        generator_core_percent=60.0, generator_wait_percent=50.0, swapped_bytes=5 * SWAPPED_BYTES,
    )  # fmt: skip
    seen = {warn.code: warn.seen for warn in doubts(cell)}
    assert seen["wrong-answers"] == "3 wrong answers"
    assert seen["failures"] == "7 of 1010 requests failed (HTTP 503, timeout)"
    assert "cpu, kernel" in seen["machine-changed"]
    assert "used 60 % of one core and waited for it another 60 %" in seen["generator-saturated"]
    assert "added 60 % to the mean latency" in seen["generator-starved"]
    assert "5 MiB" in seen["swapped"]


def test_a_generator_that_always_waited_is_no_division_by_zero() -> None:
    cell = changed(CELL, generator_core_percent=0.5, generator_wait_percent=100.0)
    assert [warn.code for warn in doubts(cell)] == ["generator-starved"]
    cell = changed(CELL, generator_core_percent=1.0, generator_wait_percent=100.0)
    assert found(cell, "generator-saturated")


def test_a_heartbeat_may_be_late_by_a_quarter_of_the_median() -> None:
    assert generator_late_limit_ms(changed(CELL, **answers(0))) == 10.0
    assert generator_late_limit_ms(changed(CELL, **answers(9, 39.0))) == 10.0
    assert generator_late_limit_ms(changed(CELL, **answers(9, 200.0))) == 50.0


@pytest.mark.parametrize(
    "change",
    [{"users": 0, "rate": 40.0}, {"failures": {"503": 1}}, {"wrong": 1}, {"latencies_ms": ()}],
)
def test_littles_law_is_asked_only_where_it_must_hold(change: Change) -> None:
    cell = changed(changed(CELL, users=5), **change)
    assert found(cell, "little") == []


def test_edges_of_a_short_window_do_not_break_littles_law() -> None:
    # 16 users of slow batches in 8 s: what ends in it was begun before it, up to one latency each
    slow = changed(CELL, users=16, seconds=8.0, **answers(198, 609.0))
    assert littles_users(slow) == pytest.approx(15.07, abs=0.01)
    assert found(slow, "little") == []
    assert found(changed(slow, latencies_ms=(500.0,) * 198), "little") != []
    fast = changed(CELL, users=16, seconds=8.0, **answers(1980, 60.9))  # the same, ten times faster
    assert found(fast, "little") != []


def test_littles_law_is_throughput_times_latency() -> None:
    assert littles_users(changed(CELL, seconds=5.0, **answers(1000, 20.0))) == pytest.approx(4.0)


@pytest.mark.parametrize("users", [1, 4, 16])
def test_a_second_of_standstill_in_ten_is_hidden_by_a_closed_loop(users: int) -> None:
    steady = closed_loop(users, 40.0, lambda _: 10.0)
    stalling = closed_loop(users, 40.0, lambda _: 10.0, stalls=(5, 15, 25, 35))
    assert found(steady, "hides-stalls") == []
    assert stalling.percentile_ms(99) == pytest.approx(10.0)
    wait = hidden_wait_ms(stalling)
    assert wait is not None
    assert wait == pytest.approx(910, abs=25)  # 4 s in 40: a hundredth of the time waits longer
    (warning,) = found(stalling, "hides-stalls")
    assert "waits 9" in warning.seen
    assert "10 ms hides it" in warning.seen


def test_a_wait_that_the_percentile_shows_is_not_called_hidden() -> None:
    cell = changed(CELL, **one_gap(500.0))  # a wait of 400 ms
    for shown, codes in ((150.0, 1), (250.0, 0)):
        slow = changed(cell, latencies_ms=(shown,) * len(cell.ends_ms))
        assert len(found(slow, "hides-stalls")) == codes


@pytest.mark.parametrize("change", [{"rate": 5.0}, {"ends_ms": ()}, {"ends_ms": (1.0,)}])
def test_waiting_is_known_only_from_a_closed_loops_completions(change: Change) -> None:
    assert hidden_wait_ms(changed(CELL, **(one_gap(500.0) | change))) is None


def test_a_generator_that_waits_for_others_is_starved_before_it_adds_five_percent() -> None:
    waiting = changed(CELL, generator_core_percent=1.0, generator_wait_percent=8.1)
    assert not found(waiting, "generator-starved")
    busy = changed(waiting, other_cpu_percent=10.1)
    assert found(busy, "generator-starved")
    assert not found(changed(busy, other_cpu_percent=10.0), "generator-starved")
    assert not found(changed(busy, generator_wait_percent=8.0), "generator-starved")
