from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tiankong.bench.load.generator import ALONE
from tiankong.bench.proof import tuning as proving
from tiankong.bench.proof.tuning import Glance, Kept, TunedSettings, TuningProof
from tiankong.bench.search import tune as tuning
from tiankong.bench.search.slo import parse_slo
from tiankong.bench.search.space import SHARED, Setup, space
from tiankong.bench.search.tune import (
    NothingHoldsError,
    Schedule,
    Tuned,
    needed,
    require_enough,
    score,
    tune,
    usual_budget,
)
from tiankong.bench.sweep.measure import Window
from tiankong.bench.sweep.session import Ground
from tiankong.reports.plots.tuning import space_picture
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import read_run

SLO = parse_slo("p95=100ms")
USUAL = Setup(2, 2, 8)
TEN_MINUTES = 600.0
FOLDER = Path("nowhere")


class Interrupted(BaseException):
    """As when the user presses Ctrl-C."""


class FakeGround:
    """A server that is only made up: how fast it is depends on its settings and the users."""

    def __init__(self, engine: str = "onnxruntime", slow: float = 1.0, mates: str = "any") -> None:
        recipe = SimpleNamespace(engine=engine, summary="")
        manifest = SimpleNamespace(
            variant="a", model={"name": "m"}, digest="ab", size=1, model_file_size=1,
            recipe=recipe, notes={}, gate=None, mates=mates,
        )  # fmt: skip
        self.variants = {"a": SimpleNamespace(manifest=manifest, folder=FOLDER)}
        self.gold = SimpleNamespace(name="gold", digest="cd", items=[1])
        self.slow = slow
        self.measured: list[tuple[Setup, int, float]] = []
        self.patience = 10_000

    def as_json(self) -> dict[str, Any]:
        return {"target": ""}

    def rate(self, choice: Setup, users: int) -> float:
        """Return requests a second: one sentence alone takes 10 ms, in a batch of 16 a third."""
        batch = max(1.0, min(choice.max_batch, users / (choice.streams + 1)))
        speed = 100 * (1 + 2 * np.log2(batch) / 4)
        speed *= {1: 1.0, 2: 0.9, 4: 0.8}[choice.streams]
        speed *= {SHARED: 1.02, 1: 0.95, 2: 1.0}[choice.threads]
        return float(speed * (0.8 if choice.spin else 1.0) / self.slow * min(1.0, users / 2))

    def measure(
        self,
        point: Point,
        window: Window,
    ) -> Cell:
        if len(self.measured) == self.patience:
            raise Interrupted
        users, seconds = point.load.users, window.seconds
        choice = Setup(**(dict(point.settings) or USUAL.as_json()))
        self.measured.append((choice, users, seconds))
        source = np.random.default_rng(list(repr(point).encode()))
        rate = self.rate(choice, users) * float(np.exp(source.normal(0, 0.02)))
        requests = max(1, int(rate * seconds))
        noise = np.exp(source.normal(0, 0.15, requests))
        latencies = 1000 * users / rate * noise / noise.mean()
        ends = np.linspace(1, 1000 * seconds - 1, requests)
        return Cell(
            point, seconds, tuple(latencies.tolist()), "now",
            ends_ms=tuple(ends.tolist()), settings=choice.as_json(),
        )  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(tuning, "usable_cores", lambda: 2)
    real, numbers = tuning.new_header, count()

    def header(*words: Any, **named: Any) -> Any:
        name = f"{next(numbers):02}-tune-m"  # more than one a second
        return replace(real(*words, **named), run=name)

    monkeypatch.setattr(tuning, "new_header", header)
    return tmp_path


def tuned(ground: Any, budget: float = TEN_MINUTES) -> Tuned:
    return tune("a", SLO, budget, ground)


def test_the_space_holds_the_usual_settings_and_fills_the_cores() -> None:
    for engine in ("onnxruntime", "openvino", "pytorch"):
        for cores in (1, 2, 3, 4, 8):
            choices = space(engine, cores)
            assert len(set(choices)) == len(choices)
            assert Setup(1, cores, 8) in choices
            fixed = [c for c in choices if c.threads != SHARED]
            assert all(c.streams * c.threads >= cores >= c.threads for c in fixed)
            shared = {c.streams for c in choices if c.threads == SHARED and c.max_batch == 8}
            assert (engine == "pytorch" and not shared) or {1, cores} <= shared
            assert all(not c.spin or (engine == "onnxruntime" and c.threads > 1) for c in choices)
    assert len(space("onnxruntime", 2)) == 45
    openvino = {(c.streams, c.threads) for c in space("openvino", 2)}
    assert openvino == {(1, 2), (2, 1), (1, SHARED), (2, SHARED)}


def test_who_is_asked_alone_has_no_sizes_of_batches() -> None:
    assert {c.max_batch for c in space("onnxruntime", 2)} == {1, 2, 4, 8, 16}
    assert {c.max_batch for c in space("onnxruntime", 2, batches=False)} == {1}
    asked = {trial.choice.max_batch for trial in tuned(FakeGround(mates="none")).trials}
    assert asked == {1, USUAL.max_batch}  # the made-up server claims 8
    alike = tuned(FakeGround(mates="same length")).trials
    assert {trial.choice.max_batch for trial in alike} == {1, 2, 4, 8, 16}


def test_the_choice_of_a_server_as_it_comes() -> None:
    told = {"streams": 2, "threads": 2, "max_batch": 8, "spin": False}
    assert Setup.usual(told, "pytorch") == Setup(2, 2, 8)
    # Packed weights could not be kept: every batch gets all cores.
    assert Setup.usual(told | {"least_threads": 2}, "onnxruntime") == Setup(2, 2, 8)
    assert Setup.usual(told | {"least_threads": 1}, "onnxruntime") == Setup(2, SHARED, 8)
    assert str(Setup(2, SHARED, 8)) == "2 streams x shared cores, batches of 8"
    assert Setup(2, SHARED, 8) in space("onnxruntime", 2)


@pytest.mark.parametrize(
    ("engine", "threads"), [("onnxruntime", SHARED), ("openvino", SHARED), ("pytorch", 1)]
)
def test_on_one_core_too_the_usual_settings_are_those_without_options(
    engine: str, threads: int
) -> None:
    told = {"streams": 1, "threads": 1, "least_threads": 1, "max_batch": 8, "spin": False}
    usual = Setup.usual(told, engine)
    assert usual == Setup(1, threads, 8)
    assert usual in space(engine, 1)


def test_settings_as_options_and_in_words() -> None:
    assert Setup(2, 1, 8).options == "--streams 2 --threads 1 --max-batch 8"
    assert Setup(2, 1, 8, spin=True).options.endswith(" --spin")
    assert str(Setup(2, 1, 8, spin=True)) == "2 streams x 1 threads, batches of 8, spinning"


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
    with pytest.raises(UnusableInputError, match="45 settings cannot be told apart in 300 s"):
        require_enough(300, "onnxruntime", batches=True)
    require_enough(300, "onnxruntime", batches=False)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "pytorch"])
@pytest.mark.parametrize("cores", [1, 2, 3, 4, 6, 8, 12, 16, 48, 64, 128, 255])
def test_nobody_has_to_name_a_budget(engine: str, cores: int) -> None:
    for batches in (True, False):
        choices = len(space(engine, cores, batches=batches))
        budget = usual_budget(choices)
        assert budget >= needed(choices, 2.0)
        assert Schedule.within(budget, choices).rungs[0][1] >= 1.99
        assert budget == TEN_MINUTES or (cores > 2 and budget % 60 == 0 and budget < 3600)


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


PROOF_TERMS = {"model": "m", "slo": "p95=100ms"}


def proof_of(ground: Any, path: Path, terms: Mapping[str, Any] = PROOF_TERMS) -> TuningProof:
    return TuningProof("a", SLO, ground, Kept.read(path, terms), 2.0)


def test_the_proof_searches_everything_and_measures_the_best_again(home: Path) -> None:
    ground = FakeGround()
    text, lacking = proving.prove(proof_of(ground, home / "p.jsonl"), TEN_MINUTES, 2, 3)
    head, _, *rows = text.splitlines()
    assert head == "m, a, p95=100ms: 45 settings, 2 x 2 s each (0 windows invalid);" \
        " then 3 rounds of 10 s"  # fmt: skip
    assert not lacking
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows[2:]]
    assert 5 <= len(cells) <= 7
    assert cells[0][4] == "1"
    names = ", ".join(row[0] for row in cells)
    assert all(f"no. {n} of the search" in names for n in range(1, 6))
    assert "`tune`" in names
    [usual] = [row for row in cells if "usual settings" in row[0]]
    assert usual[1] == str(USUAL)
    assert 0.5 < float(usual[4].split()[0]) < 1
    assert "–" in usual[4].split()[1]  # the interval
    rates = [float(row[3]) for row in cells]
    assert rates == sorted(rates, reverse=True)


def test_an_interrupted_proof_goes_on_and_a_whole_one_is_printed_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, ground = home / "p.jsonl", FakeGround()
    spent = []
    for patience in (60, 130, 180, 10_000):  # in tune, in the search, in the final
        ground.patience = patience
        try:
            text, _ = proving.prove(proof_of(ground, path), TEN_MINUTES, 2, 3)
        except Interrupted:
            spent.append(len(ground.measured))
    assert spent == [60, 130, 180]
    own = sum(1 for line in path.read_text().splitlines() if "look" in json.loads(line))
    [search] = tuning.folder().glob("*.jsonl")
    assert len(ground.measured) == len(read_run(search).cells) + own  # nothing twice
    ground.patience = len(ground.measured)
    path.write_text(path.read_text() + '{"terms": {"mod')  # the end of a line was never written
    assert proving.prove(proof_of(ground, path), TEN_MINUTES, 2, 3)[0] == text
    with pytest.raises(Interrupted):
        proving.prove(proof_of(ground, path), TEN_MINUTES, 2, 4)  # one more round is measured
    assert "is not gone on with" not in capsys.readouterr().err
    with pytest.raises(Interrupted):
        proving.prove(proof_of(ground, path, {"model": "another"}), TEN_MINUTES, 2, 3)
    assert "p.jsonl is not gone on with: another model" in capsys.readouterr().err


def test_a_file_of_windows_that_is_none(home: Path) -> None:
    (home / "p.jsonl").write_text("no JSON\n")
    with pytest.raises(UnusableInputError, match=r"p\.jsonl, line 1 cannot be read"):
        Kept.read(home / "p.jsonl", PROOF_TERMS)


def test_what_was_disturbed_is_measured_once_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, attempts = FakeGround.measure, list[int]()

    def stolen(self: FakeGround, point: Point, window: Window) -> Cell:
        attempts.append(window.attempt)
        calm = window.attempt == 2 and point.load.users < 9
        return replace(measure(self, point, window), steal_percent=0.0 if calm else 50.0)

    monkeypatch.setattr(FakeGround, "measure", stolen)
    proof = proof_of(FakeGround(), home / "p.jsonl")
    looks = proof.final({Setup(2, 1, 8): 8, Setup(2, 2, 8): 9}, 1)
    assert attempts == [1, 2, 1, 2]
    assert [look.doubts for own in looks.values() for look in own] == [[], ["stolen"]]


def look(number: int, score: float, users: int = 9, doubts: tuple[str, ...] = ()) -> Glance:
    return Glance("search", number, USUAL, users, users + 1, score, doubts)


def test_all_passes_but_the_first_count() -> None:
    assert proving.settled([look(1, 500)]) == (500, 10)
    assert proving.settled([look(1, 500), look(2, 90), look(3, 110, 13)]) == (100, 12)
    spoilt = look(2, 50, doubts=("stolen",))
    assert proving.settled([look(1, 500), spoilt, look(3, 110)]) == (110, 10)
    assert proving.settled([look(1, 500), spoilt]) == (50, 10)


def test_the_best_of_the_final_is_the_best_and_nothing_is_no_trouble() -> None:
    one, two, three, four = (Setup(2, 1, size) for size in (1, 2, 4, 8))
    found = TunedSettings(None, two, four, 9)
    searched = {one: [look(1, 120)], two: [look(1, 100)], three: [look(1, 0)], four: [look(1, 0)]}
    named = proving.finalists(found, searched)
    assert named[one] == ["no. 1 of the search"]
    assert named[two] == ["no. 2 of the search", "`tune`"]
    assert named[four][-1] == "usual settings"
    final = {
        one: [look(1, 90), look(2, 45, doubts=("stolen",)), look(3, 90)],
        two: [look(1, 100), look(2, 100), look(3, 100)],
        three: [look(1, 50), look(2, 0), look(3, 0)],
        four: [look(1, 7, doubts=("little",))] * 3,
    }
    rows = proving.table(named, final).splitlines()[2:]
    assert rows[0].endswith(f"`tune` | {two} | 9 | 100.0 | 1 | – |")
    assert rows[1].endswith(f"{one} | 9 | 90.0 | 0.900 (0.900–0.900) | 1: stolen |")
    assert " 0.167 (2 of 3 rounds: nothing in time) | – |" in rows[2]
    assert rows[3].endswith(f"usual settings | {four} | 9 | – | – | 3: little |")
    dead = {choice: [look(n, 0.0) for n in (1, 2)] for choice in named}
    assert proving.table(named, dead).count("| 0.0 | – | – |") == 4
    spoilt = {choice: [look(1, 9.0, doubts=("stolen",))] for choice in named}
    assert proving.table(named, spoilt).count("| 9 | – | – | 1: stolen |") == 4


def test_no_pass_is_no_proof(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        proving.main(["--passes", "0"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("tuning: --passes, --rounds and --seconds")


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
    monkeypatch.setattr(tuning, "CONFIRM_SECONDS", 2.0)
    monkeypatch.setattr(tuning, "CONFIRMATIONS", 2)
    monkeypatch.setattr(tuning, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(tuning, "folder", lambda: tmp_path / "searches")
    gold = read_gold()
    built = ensure(Store("builtin-small"), ["onnx-int8"], gold)
    ground = Ground.of(built, gold, ALONE)
    found = tune("onnx-int8", parse_slo("p95=100ms"), 75.0, ground)
    cells = read_run(found.run).cells
    assert {cell.settings["max_batch"] for cell in cells} >= {1, 4}
    assert all(cell.wrong == 0 for cell in cells)
    assert found.best.qps > 0
