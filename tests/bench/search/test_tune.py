from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from made_up import SLO, TEN_MINUTES, USUAL, FakeGround, Interrupted, number_runs
from planted_doubts import INVALIDATING, planted

from tiankong.bench.load.generator import ALONE
from tiankong.bench.search import schedule
from tiankong.bench.search import tune as tuning
from tiankong.bench.search.space import Setup, space
from tiankong.bench.search.trust import ATTEMPTS, OVERLOAD
from tiankong.bench.search.tune import (
    CONFIRMATION,
    FIRST_LOOK,
    NothingHoldsError,
    require_enough,
    score,
    tune,
)
from tiankong.bench.search.tuned import Tuned
from tiankong.bench.sweep.ground import Ground
from tiankong.bench.sweep.measure import Window
from tiankong.reports.plots.tuning import space_picture
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import read_run
from tiankong.toolkit.runs.slo import parse_slo


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power is cut here, and cells are many
    number_runs(monkeypatch, tuning)
    return tmp_path


def tuned(ground: Any, budget: float = TEN_MINUTES) -> Tuned:
    return tune("a", SLO, budget, ground)


def test_who_is_asked_alone_has_no_sizes_of_batches() -> None:
    assert {c.max_batch for c in space("onnxruntime", 2)} == {1, 2, 4, 8, 16}
    assert {c.max_batch for c in space("onnxruntime", 2, batches=False)} == {1}
    asked = {trial.choice.max_batch for trial in tuned(FakeGround(mates="none")).trials}
    assert asked == {1, USUAL.max_batch}  # the made-up server claims 8
    alike = tuned(FakeGround(mates="same length")).trials
    assert {trial.choice.max_batch for trial in alike} == {1, 2, 4, 8, 16}


def test_a_budget_too_small_is_refused_before_anything_is_built() -> None:
    with pytest.raises(UnusableInputError, match="45 settings cannot be told apart in 300 s"):
        require_enough(300, "onnxruntime", batches=True)
    require_enough(300, "onnxruntime", batches=False)


def test_the_usual_budget_is_said_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ground = FakeGround()
    ground.patience = 0
    with pytest.raises(Interrupted):
        tune("a", SLO, None, cast(Any, ground))
    assert "tune: 45 settings to look at, about 10 minutes" in capsys.readouterr().err
    monkeypatch.setattr(tuning, "usable_cores", lambda: 8)
    with pytest.raises(Interrupted):
        tune("a", SLO, None, cast(Any, ground))
    assert "tune: 95 settings to look at, about 20 minutes" in capsys.readouterr().err


def test_it_finds_the_best_of_a_made_up_server() -> None:
    ground = FakeGround()
    found = tuned(ground)
    every = space("onnxruntime", 2)

    def capacity(choice: Setup) -> float:
        # The latest user is at 1.25 times the mean: what holds is known for this server.
        return max(
            ground.rate(choice, n) for n in range(1, 60) if 1270 * n / ground.rate(choice, n) <= 100
        )

    best = max(map(capacity, every))
    assert capacity(found.best.choice) >= 0.95 * best
    assert found.usual.choice == USUAL
    assert found.best.qps > found.usual.qps
    assert found.best.low <= found.best.qps <= found.best.high
    assert {trial.choice for trial in found.trials if trial.rung == 1} == set(every)


def test_the_usual_settings_stay_where_nothing_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGround, "rate", lambda self, choice, users: 100.0 * min(1, users / 2))
    found = tuned(FakeGround())
    assert (found.best.held, found.best.qps) >= (found.usual.held, found.usual.qps)
    assert found.best.qps / found.usual.qps < 1.1
    ground = FakeGround()
    monkeypatch.setattr(
        FakeGround, "rate", lambda self, choice, users: 120.0 - 50 * (choice != USUAL)
    )
    assert tuned(ground).best.choice == USUAL


def test_what_it_says_is_whole_and_strict_json(home: Path) -> None:
    found = tuned(FakeGround("openvino"))
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert data["settings"] == data["best"]["choice"] == found.best.choice.as_json()
    assert data["slo"] == "p95=100ms"
    assert Path(data["run"]).parent == home / "tuning"
    picture = space_picture(data)
    assert picture.startswith("<?xml")
    assert "</svg>" in picture


def test_of_several_variants_the_fastest_is_found_and_its_settings(home: Path) -> None:
    ground = FakeGround(variants={"slow": 0.5, "fast": 1.0, "middle": 0.8})
    found = tune(["slow", "fast", "middle"], SLO, 3 * TEN_MINUTES, cast(Any, ground))
    alone = tuned(FakeGround())
    assert (found.variant, found.best.variant, found.usual.variant) == ("fast", "fast", "slow")
    assert found.best.qps >= 0.95 * alone.best.qps
    assert found.usual.choice == USUAL
    asked = {(trial.variant, trial.choice) for trial in found.trials if trial.rung == 1}
    assert asked == {(name, c) for name in ground.variants for c in space("onnxruntime", 2)}
    last = max(trial.rung for trial in found.trials)
    assert {trial.variant for trial in found.trials if trial.rung == last} == {"fast"}
    confirmed = {
        cell.point.variant for cell in read_run(found.run).cells if cell.point.stage == CONFIRMATION
    }
    assert confirmed == {"fast", "slow"}
    data = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (data["variant"], data["variants"]) == ("fast", ["slow", "fast", "middle"])
    assert (data["best"]["variant"], data["usual"]["variant"]) == ("fast", "slow")
    picture = space_picture(data)
    assert "middle: 2 × shared" in picture
    assert "slow, fast, middle: requests/s" in picture


def test_the_first_variant_stays_where_no_other_is_better() -> None:
    ground = FakeGround(variants={"a": 1.0, "b": 0.3})
    found = tune(["a", "b"], SLO, 2 * TEN_MINUTES, cast(Any, ground))
    assert found.variant == found.usual.variant == "a"


def test_several_variants_need_more_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert schedule.usual_budget(90, 2) > schedule.usual_budget(90) > schedule.usual_budget(45)
    with pytest.raises(UnusableInputError, match="90 settings cannot be told apart in 600 s"):
        require_enough(600, "onnxruntime", batches=True, others=[("onnxruntime", True)])
    ground = FakeGround(variants={"a": 1.0, "b": 1.0})
    ground.patience = 0
    with pytest.raises(Interrupted):
        tune(["a", "b"], SLO, None, cast(Any, ground))
    assert "tune: 90 settings of 2 variants to look at" in capsys.readouterr().err
    [path] = tuning.folder().glob("*.jsonl")
    choices = read_run(path).header.plan["choices"]
    assert choices[0] == "a: " + space("onnxruntime", 2)[0].options
    assert len(set(choices)) == 90


def test_a_result_made_before_there_could_be_several_variants_is_drawn() -> None:
    data = tuned(FakeGround()).as_json()
    old = {key: value for key, value in data.items() if key != "variants"}
    for entry in (old["best"], old["usual"], *old["trials"]):
        del entry["variant"]
    assert space_picture(old) == space_picture(data | {"variants": ["a"]})


def test_an_interrupted_search_goes_on_where_it_stopped() -> None:
    whole = FakeGround()
    expected = tuned(whole)
    for path in tuning.folder().iterdir():
        path.unlink()
    ground = FakeGround()
    ground.patience = 30
    with pytest.raises(Interrupted):
        tuned(ground)
    [path] = tuning.folder().glob("*.jsonl")
    assert len(read_run(path).cells) == 30
    ground.patience = 10_000
    found = tuned(ground)
    assert found.run == path
    assert len(ground.measured) == len(read_run(path).cells)
    assert found.best.choice == expected.best.choice or found.best.qps >= 0.95 * expected.best.qps


def test_a_search_that_ended_is_not_gone_on_with() -> None:
    first, second = tuned(FakeGround()), tuned(FakeGround())
    assert first.run != second.run


def test_settings_none_of_which_hold() -> None:
    with pytest.raises(NothingHoldsError, match="no settings of a keep p95=100ms"):
        tuned(FakeGround(slow=1000))


def test_the_score_is_qps_less_what_came_too_late() -> None:
    def cell(latencies: list[float], wrong: int = 0) -> Cell:
        ends = tuple(float(n) for n in range(1, len(latencies) + 1))
        point = Point("a", "reference", Load(1))
        return Cell(point, 1.0, tuple(latencies), "now", ends_ms=ends, wrong=wrong)

    good = cell([50.0] * 100)
    assert score(good, SLO) == pytest.approx(good.qps)
    assert score(cell([50.0] * 96 + [200.0] * 4), SLO) == pytest.approx(good.qps)
    half = cell([50.0] * 50 + [200.0] * 50)
    assert score(half, SLO) == pytest.approx(half.qps * 0.5 / 0.95)
    assert score(cell([50.0] * 99, wrong=1), SLO) == 0


def test_the_usual_settings_may_answer_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    measure = FakeGround.measure

    def broken(self: FakeGround, point: Point, window: Window) -> Cell:
        cell = measure(self, point, window)
        if Setup(**cell.settings) != USUAL:
            return cell
        return replace(cell, latencies_ms=(), ends_ms=(), failures={"503": 9})

    monkeypatch.setattr(FakeGround, "measure", broken)
    found = tuned(FakeGround())
    assert found.usual.qps == 0 < found.best.qps


def spoiled(patch: pytest.MonkeyPatch, code: str, stage: str, attempts: int = 99) -> FakeGround:
    """Return a made-up server into whose cells of a stage a reason to doubt is planted."""
    measure = FakeGround.measure
    patch.setattr(tuning, "space", lambda engine, cores, batches: [USUAL, Setup(1, 1, 1)])

    def spoil(self: FakeGround, point: Point, window: Window) -> Cell:
        cell = replace(measure(self, point, window), attempt=window.attempt)
        if not point.stage.startswith(stage) or window.attempt > attempts:
            return cell
        return planted(cell, code)

    patch.setattr(FakeGround, "measure", spoil)
    return FakeGround()


REFUSALS = {
    "failures",
    "no-requests",
    "unanswered",
}  # the first look only says how many users to begin with
STAGED = [
    (stage, code)
    for stage in (FIRST_LOOK, "rung", CONFIRMATION)
    for code in INVALIDATING
    if (stage, code) not in {(FIRST_LOOK, refusal) for refusal in REFUSALS}
]


@pytest.mark.parametrize(("stage", "code"), STAGED)
def test_no_verdict_rests_on_an_invalid_cell(
    monkeypatch: pytest.MonkeyPatch, stage: str, code: str
) -> None:
    with pytest.raises(InvalidMeasurementError, match="no verdict") as caught:
        tuned(spoiled(monkeypatch, code, stage))
    assert caught.value.exit_code == 3
    [path] = tuning.folder().glob("*.jsonl")
    assert read_run(path).is_ended


@pytest.mark.parametrize("code", sorted(set(INVALIDATING) - OVERLOAD))
def test_what_was_invalid_at_first_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    found = tuned(spoiled(monkeypatch, code, "", attempts=ATTEMPTS - 1))
    run = read_run(found.run)
    assert {cell.attempt for cell in run.cells} == {ATTEMPTS}
    assert len(run.superseded) == (ATTEMPTS - 1) * len(run.cells)


@pytest.mark.machine
@pytest.mark.timeout(600)
def test_a_real_search(
    small_variants: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tiankong.toolkit.building.store import Store
    from tiankong.toolkit.gate.examination import ensure

    monkeypatch.undo()
    choices = [Setup(1, 1, 1), Setup(1, 1, 4)]
    monkeypatch.setattr(tuning, "space", lambda engine, cores, batches: choices)
    for module in (schedule, tuning):
        monkeypatch.setattr(module, "CONFIRM_SECONDS", 2.0)
        monkeypatch.setattr(module, "CONFIRMATIONS", 2)
        monkeypatch.setattr(module, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(tuning, "folder", lambda: tmp_path / "searches")
    gold = read_gold()
    built = ensure(Store("builtin-small"), ["onnx-int8"], gold)
    ground = Ground.of(built, gold, ALONE)
    try:
        found = tune("onnx-int8", parse_slo("p95=100ms"), 75.0, ground)
    except InvalidMeasurementError as error:
        pytest.skip(f"this machine is too busy for a search: {error}")
    cells = read_run(found.run).cells
    assert {cell.settings["max_batch"] for cell in cells} >= {1, 4}
    assert all(cell.wrong == 0 for cell in cells)
    assert found.best.qps > 0
