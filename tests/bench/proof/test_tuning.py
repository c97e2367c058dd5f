from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up import SLO, TEN_MINUTES, USUAL, FakeGround, Interrupted, number_runs

from tiankong.bench.proof import tuning as proving
from tiankong.bench.proof.ledger import Ledger
from tiankong.bench.proof.tuning import Glance, TunedSettings, TuningProof
from tiankong.bench.search import tune as searching
from tiankong.bench.search.space import Setup
from tiankong.bench.sweep.measure import Window
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import read_run

PROOF_TERMS = {"model": "m", "slo": "p95=100ms"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(searching, "usable_cores", lambda: 2)
    number_runs(monkeypatch, searching)
    return tmp_path


def proof_of(ground: Any, path: Path, terms: Mapping[str, Any] = PROOF_TERMS) -> TuningProof:
    return TuningProof("a", SLO, ground, Ledger(path, terms), 2.0)


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
    own = sum(json.loads(line)["key"][0] != "tune" for line in path.read_text().splitlines())
    [search] = searching.folder().glob("*.jsonl")
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
