from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_ground import (
    CLOSED_TERMS,
    FASTEST,
    OPEN_TERMS,
    FakeGround,
    Spoil,
    confirmation,
    level,
    probe,
    searched,
)
from made_up import Interrupted, number_runs
from planted_doubts import INVALIDATING, planted, require_planted

from tiankong.bench.search import capacity as hunting
from tiankong.bench.search.capacity import (
    CONFIRMATION,
    PROBE,
    CapacityTerms,
    NotHeldError,
)
from tiankong.bench.search.trust import ATTEMPTS, OVERLOAD
from tiankong.bench.sweep.session import runs_folder
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import OPEN, Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import locked, read_run
from tiankong.toolkit.runs.slo import parse_slo


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGround:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power is cut here, and cells are many
    number_runs(monkeypatch, hunting)
    return FakeGround()


def test_the_users_that_hold_are_found_and_confirmed(ground: FakeGround) -> None:
    found = searched(ground)
    assert (found.load, found.failed_load) == (8, 9)  # P95 is 1.17 times 10 ms a user
    assert found.qps == pytest.approx(FASTEST, rel=0.01)
    assert found.low <= found.qps <= found.high
    confirming = [confirmation(8, repeat) for repeat in (1, 2, 3)]
    assert [cell.point for cell in found.cells] == confirming
    assert ground.probed == [1, 2, 4, 8, 16, 12, 10, 9]
    assert [point for point, _ in ground.measured[8:]] == confirming
    assert {window.seconds for window in ground.windows[:8]} == {CLOSED_TERMS.probe_seconds}
    assert {window.seconds for window in ground.windows[8:]} == {CLOSED_TERMS.confirm_seconds}


def test_the_rate_that_holds_is_found_and_confirmed(ground: FakeGround) -> None:
    found = searched(ground, OPEN_TERMS)
    limit = FASTEST - 1000 * np.log(20) / 100  # P95 of M/M/1
    assert found.failed_load is not None
    assert found.load <= limit < found.failed_load
    assert found.failed_load - found.load <= 0.05 * found.load
    assert found.qps == pytest.approx(found.load, rel=0.01)
    assert found.low <= found.load
    assert found.high >= found.failed_load
    assert ground.probed[:4] == [8, 16, 32, 64]
    assert {(cell.load.mode, cell.load.users) for cell in found.cells} == {(OPEN, 0)}


def test_everything_that_was_measured_stands_in_the_run_file(ground: FakeGround) -> None:
    found = searched(ground)
    run = read_run(found.run)
    assert [(cell.point, cell.attempt) for cell in run.cells] == ground.measured
    assert run.header.plan["slo"] == "p95=100ms"
    assert run.cells[-3:] == found.cells


@pytest.mark.parametrize("terms", [CLOSED_TERMS, OPEN_TERMS])
def test_an_interrupted_search_goes_on_without_measuring_again(
    ground: FakeGround, terms: CapacityTerms
) -> None:
    for patience in range(1, 1000):
        ground.patience = patience
        try:
            found = searched(ground, terms)
        except Interrupted:
            continue
        break
    assert len(ground.measured) == len(set(ground.measured)) == patience > 10
    (path,) = found.run.parent.glob("*.jsonl")
    assert path == found.run
    whole = FakeGround()
    assert searched(whole, replace(terms, slo=parse_slo("p95=0.1s"))).load == found.load
    assert whole.measured == ground.measured


def test_a_finished_search_is_begun_anew(ground: FakeGround) -> None:
    first = searched(ground)
    count = len(ground.measured)
    second = searched(ground)
    assert second.run != first.run
    assert len(ground.measured) == 2 * count


def test_a_search_older_than_a_finished_one_is_not_gone_on_with(ground: FakeGround) -> None:
    ground.patience = 2
    with pytest.raises(Interrupted):
        searched(ground)
    (old,) = runs_folder().glob("*.jsonl")
    kept = old.read_bytes()
    old.unlink()
    ground.patience = 1000
    searched(ground)
    old.write_bytes(kept)  # it lay elsewhere meanwhile
    searched(ground)
    assert old.read_bytes() == kept
    assert len(list(runs_folder().glob("*.jsonl"))) == 3


@pytest.mark.parametrize(
    "change", [{"slo": parse_slo("p95=200ms")}, {"probe_seconds": 9.0}, {"mode": OPEN}]
)
def test_a_search_for_something_else_is_not_gone_on_with(
    ground: FakeGround, change: dict[str, Any]
) -> None:
    ground.patience = 2
    with pytest.raises(Interrupted):
        searched(ground)
    ground.patience = 1000
    found = searched(ground, replace(CLOSED_TERMS, **change))
    assert len(list(found.run.parent.glob("*.jsonl"))) == 2
    assert len(read_run(found.run).cells) == len(ground.measured) - 2


def test_a_search_that_another_process_is_at_is_left_alone(ground: FakeGround) -> None:
    ground.patience = 2
    with pytest.raises(Interrupted):
        searched(ground)
    (path,) = runs_folder().glob("*.jsonl")
    with locked(path), pytest.raises(UnusableInputError, match="another process is measuring"):
        searched(ground)


def test_no_number_of_users_holds(ground: FakeGround) -> None:
    with pytest.raises(NotHeldError, match="a does not hold p95=1ms even at 1 users") as caught:
        searched(ground, CapacityTerms(parse_slo("p95=1ms")))
    assert caught.value.exit_code == 1
    assert ground.measured == [(probe(1), 1)]


def test_no_rate_holds(ground: FakeGround) -> None:
    with pytest.raises(NotHeldError, match="does not hold p95=1ms"):
        searched(ground, CapacityTerms(parse_slo("p95=1ms"), OPEN))
    assert len(ground.measured) == 7
    assert min(ground.probed) == 8 / 64


def test_a_search_that_found_nothing_is_begun_anew(ground: FakeGround) -> None:
    for _ in range(2):
        with pytest.raises(NotHeldError):
            searched(ground, CapacityTerms(parse_slo("p95=1ms")))
    assert len(ground.measured) == 2


def test_what_never_fails_is_searched_up_to_the_most(
    ground: FakeGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hunting, "MOST_USERS", 8)
    found = searched(ground)
    assert (found.load, found.failed_load) == (8, None)
    monkeypatch.setattr(hunting, "MOST_RATE", 50.0)
    found = searched(ground, OPEN_TERMS)
    assert (found.load, found.failed_load) == (50.0, None)
    assert found.high == pytest.approx(50.0, rel=0.01)


def slow_confirmations(least: float) -> Spoil:
    """Return a function that makes confirming runs slow from a load on."""

    def spoil(cell: Cell) -> Cell:
        if cell.point.stage == PROBE or level(cell.point) < least:
            return cell
        slower = 1 + 100.0 / cell.mean_ms
        fewer = int(len(cell.latencies_ms) / slower)
        ends = np.linspace(1, 1000 * cell.seconds - 1, fewer)
        latencies = tuple(ms * slower for ms in cell.latencies_ms[:fewer])
        return replace(cell, latencies_ms=latencies, ends_ms=tuple(ends.tolist()))

    return spoil


def test_few_users_that_are_not_confirmed_are_taken_back_one_by_one(ground: FakeGround) -> None:
    ground.spoil = slow_confirmations(7)
    found = searched(ground)
    assert (found.load, found.failed_load) == (6, 7)
    assert ground.confirmed == [8, 7, 6]


def test_a_rate_that_is_not_confirmed_is_taken_back_by_a_tenth(ground: FakeGround) -> None:
    ground.spoil = slow_confirmations(60)
    found = searched(ground, OPEN_TERMS)
    confirmed = ground.confirmed
    assert confirmed[1:] == pytest.approx([0.9 * load for load in confirmed[:-1]])
    assert (found.load, found.failed_load) == (confirmed[-1], confirmed[-2])
    assert found.load < 60 <= confirmed[-2]


def test_an_interrupted_retreat_goes_on(ground: FakeGround) -> None:
    ground.spoil = slow_confirmations(7)
    ground.patience = 8 + 4  # all probes, the confirmations of 8 users, one of 7 users
    with pytest.raises(Interrupted):
        searched(ground)
    ground.patience = 1000
    assert searched(ground).load == 6
    assert len(ground.measured) == len(set(ground.measured)) == 8 + 9


def test_a_load_that_is_never_confirmed_is_given_up(ground: FakeGround) -> None:
    ground.spoil = slow_confirmations(0)
    with pytest.raises(NotHeldError, match=r"no load could be confirmed to hold p95=100ms"):
        searched(ground)
    assert ground.confirmed == [8, 7, 6, 5, 4, 3]


def test_a_single_user_that_is_not_confirmed_is_the_end(ground: FakeGround) -> None:
    ground.spoil = slow_confirmations(0)
    with pytest.raises(NotHeldError, match="no load could be confirmed to hold p95=25ms"):
        searched(ground, CapacityTerms(parse_slo("p95=25ms")))


def disturbed(point: Point, attempts: int, **change: Any) -> Spoil:
    """Return a function that disturbs the first attempts at a point."""

    def spoil(cell: Cell) -> Cell:
        if cell.point != point or cell.attempt > attempts:
            return cell
        return replace(cell, **change)

    return spoil


def staged(code: str, stage: str, attempts: int = 99) -> Spoil:
    """Return a function that plants a reason to doubt into the first attempts of a stage."""

    def spoil(cell: Cell) -> Cell:
        if cell.point.stage != stage or cell.attempt > attempts:
            return cell
        require_planted(cell, code)
        return planted(cell, code)

    return spoil


@pytest.mark.parametrize("code", INVALIDATING)
@pytest.mark.parametrize("stage", [PROBE, CONFIRMATION])
def test_no_verdict_rests_on_an_invalid_cell(ground: FakeGround, code: str, stage: str) -> None:
    ground.spoil = staged(code, stage)
    with pytest.raises(InvalidMeasurementError) as caught:
        searched(ground)
    assert caught.value.exit_code == 3
    assert "no verdict" in str(caught.value) or "too few answers" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert max(attempt for _, attempt in ground.measured) <= ATTEMPTS
    assert read_run(next(iter(runs_folder().glob("*.jsonl")))).is_ended


@pytest.mark.parametrize("code", sorted(set(INVALIDATING) - OVERLOAD))
@pytest.mark.parametrize("stage", [PROBE, CONFIRMATION])
def test_what_was_invalid_at_first_is_measured_again(
    ground: FakeGround, code: str, stage: str
) -> None:
    ground.spoil = staged(code, stage, attempts=ATTEMPTS - 1)
    assert searched(ground).load == 8
    assert {attempt for point, attempt in ground.measured if point.stage == stage} == {1, 2, 3}


def test_too_much_load_is_no_reason_to_measure_again(ground: FakeGround) -> None:
    """A server beyond its capacity refuses requests: that shows that the load does not hold."""
    ground.spoil = lambda cell: planted(cell, "failures") if level(cell.point) > 4 else cell
    found = searched(ground)
    assert (found.load, found.failed_load) == (4, 5)
    assert {attempt for _, attempt in ground.measured} == {1}


def test_a_disturbed_cell_is_measured_once_more(ground: FakeGround) -> None:
    slow = (500.0,) * 800  # it would not have held
    ground.spoil = disturbed(probe(4), 1, steal_percent=9.0, latencies_ms=slow)
    found = searched(ground)
    assert found.load == 8
    assert ground.measured[2:4] == [(probe(4), 1), (probe(4), 2)]
    run = read_run(found.run)
    assert [(cell.point, cell.attempt) for cell in run.superseded] == [(probe(4), 1)]


def test_a_confirmation_that_stays_disturbed_cannot_be_trusted(ground: FakeGround) -> None:
    ground.spoil = disturbed(confirmation(8, 2), 9, steal_percent=9.0)
    for times in (1, 2):  # and the next search begins anew
        with pytest.raises(InvalidMeasurementError, match="the host took 9 % of the machine away"):
            searched(ground)
        assert ground.measured.count((confirmation(8, 2), ATTEMPTS)) == times
        assert ground.measured.count((probe(1), 1)) == times


def test_too_few_answers_to_confirm(ground: FakeGround) -> None:
    few = CapacityTerms(parse_slo("p99=100ms"), confirm_seconds=2.0)  # 3 x 200 answers, not 660
    with pytest.raises(InvalidMeasurementError, match="too few answers for p99=100ms"):
        searched(ground, few)


def test_a_level_is_users_or_a_rate() -> None:
    assert CLOSED_TERMS.load(8.0) == Load(8)
    assert OPEN_TERMS.load(8.5) == Load(0, 8.5)


def test_the_stack_is_the_terms(ground: FakeGround) -> None:
    found = searched(ground, replace(CLOSED_TERMS, stack="target"))
    assert {cell.point.stack for cell in found.cells} == {"target"}


def test_a_capacity_as_json(ground: FakeGround) -> None:
    found = searched(ground)
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (data["variant"], data["slo"], data["mode"]) == ("a", "p95=100ms", "closed")
    assert (data["load"], data["failed_load"], data["run"]) == (8, 9, str(found.run))
    assert data["low"] <= data["qps"] <= data["high"]
    assert "cells" not in data
