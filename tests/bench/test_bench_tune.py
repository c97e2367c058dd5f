from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiankong.bench import tune as tuning
from tiankong.bench.generator import ALONE
from tiankong.bench.plan import Plan, Point
from tiankong.bench.slo import parse_slo
from tiankong.bench.space import SHARED, Choice, space
from tiankong.bench.sweep import Ground
from tiankong.bench.tune import NothingHoldsError, Schedule, Tuned, score, tune
from tiankong.reports.tuning import space_picture
from tiankong.toolkit.cells import Cell
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gold import read_gold
from tiankong.toolkit.runs import read_run

SLO = parse_slo("p95=100ms")
USUAL = Choice(2, 2, 8)
TEN_MINUTES = 600.0
FOLDER = Path("nowhere")


class Interrupted(BaseException):
    """As when the user presses Ctrl-C."""


class FakeGround:
    """A server that is only made up: how fast it is depends on its settings and the users."""

    def __init__(self, engine: str = "onnxruntime", slow: float = 1.0) -> None:
        recipe = SimpleNamespace(engine=engine, summary="")
        manifest = SimpleNamespace(
            variant="a", model={"name": "m"}, digest="ab", size=1, model_file_size=1,
            recipe=recipe, notes={}, gate=None,
        )  # fmt: skip
        self.variants = {"a": SimpleNamespace(manifest=manifest, folder=FOLDER)}
        self.gold = SimpleNamespace(name="gold", digest="cd", items=[1])
        self.slow = slow
        self.measured: list[tuple[Choice, int, float]] = []
        self.patience = 10_000

    def as_json(self) -> dict[str, Any]:
        return {"target": ""}

    def rate(self, choice: Choice, users: int) -> float:
        """Return requests a second: one sentence alone takes 10 ms, in a batch of 16 a third."""
        batch = max(1.0, min(choice.max_batch, users / (choice.streams + 1)))
        speed = 100 * (1 + 2 * np.log2(batch) / 4)
        speed *= {1: 1.0, 2: 0.9, 4: 0.8}[choice.streams]
        speed *= {SHARED: 1.02, 1: 0.95, 2: 1.0}[choice.threads]
        return float(speed * (0.8 if choice.spin else 1.0) / self.slow * min(1.0, users / 2))

    def measure(
        self,
        point: Point,
        plan: Plan,
        seed: int,
        attempt: int = 1,
        settings: Mapping[str, Any] = MappingProxyType({}),
    ) -> Cell:
        if len(self.measured) == self.patience:
            raise Interrupted
        choice = Choice(**(settings or USUAL.as_json()))
        self.measured.append((choice, point.users, plan.seconds))
        source = np.random.default_rng([point.users, point.repeat])
        rate = self.rate(choice, point.users) * float(np.exp(source.normal(0, 0.02)))
        requests = max(1, int(rate * plan.seconds))
        noise = np.exp(source.normal(0, 0.15, requests))
        latencies = 1000 * point.users / rate * noise / noise.mean()
        ends = np.linspace(1, 1000 * plan.seconds - 1, requests)
        return Cell(
            point.variant, point.stack, point.users, plan.seconds, tuple(latencies.tolist()),
            "now", repeat=point.repeat, ends_ms=tuple(ends.tolist()), settings=choice.as_json(),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
    real, numbers = tuning.new_header, count()

    def header(*words: Any) -> Any:
        return replace(real(*words), run=f"{next(numbers):02}-tune-m")  # more than one a second

    monkeypatch.setattr(tuning, "new_header", header)
    return tmp_path


def tuned(ground: Any, budget: float = TEN_MINUTES) -> Tuned:
    return tune("a", SLO, budget, ground)


def test_the_space_holds_the_usual_settings_and_fills_the_cores() -> None:
    for engine in ("onnxruntime", "openvino", "pytorch"):
        for cores in (1, 2, 3, 4, 8):
            choices = space(engine, cores)
            assert len(set(choices)) == len(choices)
            assert Choice(1, cores, 8) in choices
            fixed = [c for c in choices if c.threads != SHARED]
            assert all(c.streams * c.threads >= cores >= c.threads for c in fixed)
            assert (len(fixed) < len(choices)) == (engine != "pytorch" and cores > 1)
            assert all(not c.spin or engine == "onnxruntime" for c in choices)
    assert len(space("onnxruntime", 2)) == 50
    openvino = {(c.streams, c.threads) for c in space("openvino", 2)}
    assert openvino == {(1, 2), (2, 1), (2, SHARED)}


def test_the_choice_of_a_server_that_shares_its_cores() -> None:
    told = {"streams": 2, "threads": 2, "max_batch": 8, "spin": False}
    assert Choice.of(told) == Choice(2, 2, 8)
    assert Choice.of(told | {"least_threads": 2}) == Choice(2, 2, 8)
    assert Choice.of(told | {"least_threads": 1}) == Choice(2, SHARED, 8)
    assert str(Choice(2, SHARED, 8)) == "2 streams x shared cores, batches of 8"
    assert Choice(2, SHARED, 8) in space("onnxruntime", 2)


def test_settings_as_options_and_in_words() -> None:
    assert Choice(2, 1, 8).options == "--streams 2 --threads 1 --max-batch 8"
    assert Choice(2, 1, 8, spin=True).options.endswith(" --spin")
    assert str(Choice(2, 1, 8, spin=True)) == "2 streams x 1 threads, batches of 8, spinning"


@pytest.mark.parametrize(("budget", "choices"), [(600, 40), (300, 10), (1200, 80)])
def test_a_schedule_keeps_to_its_budget(budget: float, choices: int) -> None:
    schedule = Schedule.within(budget, choices)
    cells = sum(count for count, _ in schedule.rungs)
    spent = sum(count * seconds for count, seconds in schedule.rungs) + cells * 3.5
    assert spent < budget
    assert [count for count, _ in schedule.rungs][::-1][:2] in ([2, 5], [2, 4], [2, 3])
    seconds = [each for _, each in schedule.rungs]
    assert all(later == 2 * earlier for earlier, later in pairwise(seconds))


def test_a_budget_too_small_is_refused_with_one_that_is_not() -> None:
    with pytest.raises(UnusableInputError, match=r"--budget (\d+)m or more") as caught:
        Schedule.within(60, 40)
    minutes = int(str(caught.value).split("--budget ")[1].split("m")[0])
    assert Schedule.within(minutes * 60, 40)


def test_it_finds_the_best_of_a_made_up_server() -> None:
    ground = FakeGround()
    found = tuned(ground)
    every = space("onnxruntime", 2)

    def capacity(choice: Choice) -> float:
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
        return Cell("a", "reference", 1, 1.0, tuple(latencies), "now", ends_ms=ends, wrong=wrong)

    good = cell([50.0] * 100)
    assert score(good, SLO) == pytest.approx(good.qps)
    assert score(cell([50.0] * 96 + [200.0] * 4), SLO) == pytest.approx(good.qps)
    half = cell([50.0] * 50 + [200.0] * 50)
    assert score(half, SLO) == pytest.approx(half.qps * 0.5 / 0.95)
    assert score(cell([50.0] * 99, wrong=1), SLO) == 0


@pytest.mark.machine
@pytest.mark.timeout(600)
def test_a_real_search(
    small_variants: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tiankong.toolkit.checking import gated

    monkeypatch.undo()
    monkeypatch.setattr(tuning, "space", lambda engine, cores: [Choice(1, 1, 1), Choice(1, 1, 4)])
    monkeypatch.setattr(tuning, "CONFIRM_SECONDS", 2.0)
    monkeypatch.setattr(tuning, "CONFIRMATIONS", (91, 92))
    monkeypatch.setattr(tuning, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(tuning, "folder", lambda: tmp_path / "searches")
    gold = read_gold()
    built = gated("builtin-small", [small_variants["onnx-int8"]], gold)
    ground = Ground.of(built, gold, ALONE)
    found = tune("onnx-int8", parse_slo("p95=100ms"), 75.0, ground)
    cells = read_run(found.run).cells
    assert {cell.settings["max_batch"] for cell in cells} >= {1, 4}
    assert all(cell.wrong == 0 for cell in cells)
    assert found.best.qps > 0
