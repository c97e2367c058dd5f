"""The comparison with other servers; a stand-in with their interface replaces their libraries."""

from __future__ import annotations

import ast
import json
import shutil
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tiankong.bench.load.sentences import Questions, gold_questions
from tiankong.bench.proof.ledger import Ledger
from tiankong.bench.proof.peers import __main__ as peers
from tiankong.bench.proof.peers import servers as peer_servers
from tiankong.bench.proof.peers.servers import PEERS, Contestant, digest, parse_peers, serve_peer
from tiankong.bench.proof.peers.table import Tables, Turn, ours, verdict
from tiankong.bench.proof.peers.threads import working
from tiankong.bench.serving.served import Served
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.gate.answers import load

VARIANT = "onnx-int8"
OURS = ours(VARIANT)
ARTICLE = Contestant("article", "onnx-fp32")
OTHER = Contestant("litserve", VARIANT)
ABSENT = Contestant("ray_batch", VARIANT)
SCRIPTS = sorted(PEERS.glob("*/serve.py"))


def turn(contestant: Contestant, number: int, qps: float, ms: float, **more: object) -> Turn:
    given = {
        "users": 16,
        "seconds": 2.0,
        "latencies_ms": [ms] * int(2 * qps),
        "memory": 400_000_000,
    }
    return Turn(**vars(contestant), number=number, **(given | {"start_seconds": 2.0} | more))  # type: ignore[arg-type]


def tables(turns: list[Turn]) -> Tables:
    return Tables(turns, [OURS, ARTICLE, OTHER, ABSENT], {"ray_batch": "no environment"}, VARIANT)


def rows(text: str) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in lines}


def test_the_table_pairs_windows_of_one_round() -> None:
    found = [
        *(turn(OURS, n, qps, 100.0) for n, qps in enumerate([160, 80, 120], start=1)),
        *(
            turn(OTHER, n, qps, 110.0, memory=800_000_000)
            for n, qps in [(1, 100), (2, 50), (3, 75)]
        ),
    ]
    shown = rows(tables(found).level(16))
    assert shown["litserve"][1:4] == ["72.1", "110.0", "800"]
    assert shown["litserve"][5:10] == [
        "onnx-int8",
        "1.60 (1.60–1.60)",
        "ours",
        "0.91 (0.91–0.91)",
        "ours",
    ]
    assert shown["reference"][5:] == ["–"] * 6
    assert shown["ray_batch"][-1] == "no environment"
    assert shown["article"][-1] == "not measured"


def test_a_round_in_which_one_side_does_not_count_gives_no_ratio() -> None:
    found = [
        *(turn(OURS, n, 100, 100.0) for n in (1, 2, 3)),
        turn(OTHER, 1, 200, 50.0),
        turn(OTHER, 2, 10, 50.0, doubts=["stolen"]),
        turn(OTHER, 4, 999, 50.0),
    ]
    shown = rows(tables(found).level(16))["litserve"]
    assert shown[6:8] == ["0.50", "not judged: one round"]
    assert shown[-1] == "1 × stolen"


def test_wrong_answers_and_a_death_are_told_and_give_no_figures() -> None:
    found = [
        turn(OURS, 1, 100, 10.0),
        turn(ARTICLE, 1, 100, 10.0, wrong=3, doubts=["wrong-answers"], example="春: 下, not 上"),
        Turn(**vars(OTHER), number=1, missing="litserve ended (exit code 1): a | b"),
    ]
    shown = rows(tables(found).level(16))
    assert shown["article"][1:] == ["–"] * 9 + ["1 × wrong-answers; 春: 下, not 上"]
    assert shown["litserve"][-1] == "1 × litserve ended (exit code 1): a / b"
    assert len(tables(found).unusable()) == 2


def test_the_article_s_server_is_the_measure_of_the_last_table() -> None:
    found = [
        turn(OURS, 1, 150, 10.0),
        turn(ARTICLE, 1, 75, 40.0, memory=1_600_000_000, start_seconds=8.0),
        turn(OTHER, 1, 20, 10.0),
    ]
    shown = rows(tables(found).article([16]))
    assert shown["reference"] == ["onnx-int8", "16", "2.00", "0.25", "0.25", "0.25"]
    assert shown["litserve"][3] == "too few"


@pytest.mark.parametrize(
    ("ratios", "more_is_better", "who"),
    [
        ([1.2, 1.21, 1.19], True, "ours"),
        ([1.2, 1.21, 1.19], False, "them"),
        ([0.8, 0.81, 0.79], True, "them"),
        ([0.8, 1.2, 1.1], True, "too close to call"),
        ([1.5], True, "not judged: one round"),
    ],
)
def test_who_wins(ratios: list[float], more_is_better: bool, who: str) -> None:
    assert verdict(ratios, more_is_better, "them") == who


def test_peers_are_named_with_variants_and_options() -> None:
    assert parse_peers("litserve,optimum_onnxruntime,litserve:onnx-fp32@workers=1+threads=2") == [
        OTHER,
        Contestant("optimum_onnxruntime", "onnx-fp32"),
        Contestant("optimum_onnxruntime", VARIANT),
        Contestant("litserve", "onnx-fp32", (("workers", "1"), ("threads", "2"))),
    ]
    assert parse_peers("ray@replicas=2") == [Contestant("ray", VARIANT, (("replicas", "2"),))]
    for text in ("triton", "litserve@workers", "ray@replicas=two", "ray@host=1"):
        with pytest.raises(UnusableInputError):
            parse_peers(text)


@pytest.mark.parametrize(
    "words",
    [
        ["--peers", "triton"],
        ["--python", "litserve=/nowhere"],
        ["--users", "1,0"],
        ["--seconds", "0"],
        ["--absent", "litserve"],
    ],
)
def test_what_cannot_be_used_is_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        peers.main(words)
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.err.startswith("peers: ")
    assert captured.err.count("\n") == 1
    assert not captured.out


@pytest.mark.parametrize(
    "text", [peer_servers.USUAL, "ray@replicas=2", "mlserver@workers=1+threads=2"]
)
def test_everybody_s_engine_has_a_thread_for_each_core(text: str) -> None:
    peer_servers.require_equal_budgets(parse_peers(text), 2)


@pytest.mark.parametrize(
    ("text", "threads"),
    [("litserve@threads=2", 4), ("pytriton@instances=1", 1), ("optimum_onnxruntime@threads=1", 1)],
)
def test_another_budget_is_refused(text: str, threads: int) -> None:
    with pytest.raises(UnusableInputError, match=f": {threads} threads .* has 2"):
        peer_servers.require_equal_budgets(parse_peers(text), 2)


def test_threads_that_work_are_counted() -> None:
    before = {(1, 1): 5.0, (1, 2): 0.0}
    after = {(1, 1): 5.0, (1, 2): 1.0, (1, 3): 0.9, (2, 9): 0.01}
    assert working(before, after) == 2


def test_who_cannot_be_measured_is_told_why() -> None:
    gone = Contestant("nobody", VARIANT)
    found = peers.absences([OTHER, gone], {}, {"litserve": "pip failed", "stranger": "?"})
    assert found["litserve"] == "pip failed"
    assert "there is no " in found["nobody"]
    assert set(found) == {"litserve", "nobody"}
    assert peers.absences([OTHER], {}, {}) == {"litserve": peers.NO_PYTHON}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.parent.name)
def test_a_peer_is_a_program_of_its_own(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert "https://" in (ast.get_docstring(tree) or "")
    imported = [
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or "."] if isinstance(node, ast.ImportFrom) else []
        )
    ]  # fmt: skip
    assert not [name for name in imported if name.startswith(("tiankong", "."))]
    required = (path.parent / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in required if line and not line.startswith("#")]
    assert lines
    assert all("==" in line for line in lines)


@pytest.fixture
def folder(tmp_path: Path, home: Any) -> Path:
    """Peers ``right`` and ``wrong``, which answer as ``onnx-int8`` does or upside down."""
    answers = load(VARIANT, home.variants[VARIANT].manifest.digest, home.gold)
    right = {
        item.text: [{"token": t, "score": s} for t, s in answers.rankings[item.id][:5]]
        for item in home.gold.items
    }
    wrong = {text: results[::-1] for text, results in right.items()}
    for name, given in (("right", right), ("wrong", wrong)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "answers.json").write_text(json.dumps(given), encoding="utf-8")
        shutil.copy(Path(__file__).parent / "fake_peer.py", tmp_path / name / "serve.py")
    return tmp_path


@pytest.fixture
def questions(home: Any) -> Questions:
    answers = load(VARIANT, home.variants[VARIANT].manifest.digest, home.gold)
    return gold_questions(home.gold, answers, 0)


def match(folder: Path, home: Any, questions: Questions, *who: Contestant) -> peers.Match:
    terms = peers.PeerTerms("builtin-small", 1.0, 0.2, 0, home.gold.digest, "here")
    pythons = dict.fromkeys(("right", "wrong"), Path(sys.executable))
    built = {VARIANT: home.variants[VARIANT]}
    ledger = Ledger(folder / "peers.jsonl", terms.as_json())
    return peers.Match(who, built, {VARIANT: questions}, pythons, terms, ledger, folder)


def test_servers_take_turns_and_what_is_there_is_not_measured_again(
    folder: Path, home: Any, questions: Questions
) -> None:
    who = [OURS, *(Contestant(name, VARIANT) for name in ("right", "wrong"))]
    dying = Contestant("right", VARIANT, (("die", "out of memory"),))
    first = match(folder, home, questions, *who, dying)
    first.play([2], 1)
    found = {each.contestant: each for each in first.turns}
    assert found[OURS].latencies_ms
    assert found[OURS].memory > 10_000_000
    assert found[OURS].wrong == found[who[1]].wrong == 0
    assert found[who[1]].latencies_ms
    assert not found[who[2]].latencies_ms
    assert "wrong-answers" in found[who[2]].doubts
    assert found[dying].missing == f"{dying.name} ended (exit code 1): out of memory"
    starts = (folder / "wrong" / "starts").read_text(encoding="utf-8").split()
    assert starts == ["ready", "ready"]  # the second start counts
    lines = first.ledger.path.read_text(encoding="utf-8").splitlines()
    again = match(folder, home, questions, *who)
    again.play([2], 1)
    assert first.ledger.path.read_text(encoding="utf-8").splitlines() == lines
    assert again.turns == [turn for turn in first.turns if turn.contestant != dying]
    with (folder / "wrong" / "serve.py").open("a") as script:
        script.write("# changed\n")
    changed = match(folder, home, questions, *who)
    assert {turn.contestant for turn in changed.turns} == set(who[:2])
    shown = rows(Tables(again.turns, who, {}, VARIANT).level(2))
    assert "not 上" in shown["wrong"][-1] or ", not " in shown["wrong"][-1]


def test_another_script_is_another_row(folder: Path, home: Any) -> None:
    contestant = Contestant("right", VARIANT)
    before = digest(contestant, home.variants[VARIANT], folder)
    with (folder / "right" / "serve.py").open("a") as script:
        script.write("# changed\n")
    assert digest(contestant, home.variants[VARIANT], folder) != before


def test_what_a_peer_started_elsewhere_ends_with_it(
    folder: Path, home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_servers, "ENDING_SECONDS", 0.5)
    note = folder / "orphan"
    program, python = folder / "right" / "serve.py", Path(sys.executable)
    built = home.variants[VARIANT]
    with serve_peer("right", python, program, built, ["--orphan", str(note)]) as server:
        orphan = psutil.Process(int(note.read_text()))
        assert server.pid is not None
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_a_peer_that_ends_while_it_is_used_is_told(folder: Path, home: Any) -> None:
    server = serve_peer(
        "right", Path(sys.executable), folder / "right" / "serve.py", home.variants[VARIANT]
    )
    with pytest.raises(InvalidMeasurementError, match="killed by signal 9"):
        killed(server)


def killed(server: AbstractContextManager[Served]) -> None:
    with server as running:
        assert running.pid is not None
        process = psutil.Process(running.pid)
        process.kill()
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
