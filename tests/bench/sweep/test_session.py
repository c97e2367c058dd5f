"""Sessions: unfinished work is resumed, finished work is not, and a file is read only once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cells import changed

from tiankong.bench.sweep import session as sessions
from tiankong.bench.sweep.session import Session
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.machine import digest
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import (
    SEARCH_FORMAT,
    SWEEP_FORMAT,
    Header,
    append_cell,
    create_run,
    read_run,
)

BEFORE = Path(__file__).parents[2] / "data" / "before"
HEADER = Header(
    run="01",
    started="2026-01-01T00:00:00+00:00",
    tool="0.1.0",
    model={"name": "m"},
    gold={"name": "gold"},
    plan={"name": "capacity", "slo": "p95=100ms", "levels": (1, 2)},
    seed=7,
    machine={"cpu": "x"},
    versions={},
    variants={"a": {"digest": "ab"}},
    format=SEARCH_FORMAT,
)
ONE, TWO = (Point("a", "reference", Load(users), stage="probe") for users in (1, 2))
CELL = Cell(ONE, 10.0, (10.0,) * 1000, "2026-01-01T00:00:05+00:00")


def resumed(folder: Path, run: str = "99", **changes: Any) -> Session:
    return Session.resume_or_begin("capacity", replace(HEADER, run=run, **changes), folder)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The run file of an unfinished search with one cell."""
    with resumed(tmp_path, "01") as session:
        session.append(CELL)
    return session.path


def test_a_new_one_begins_and_what_is_left_is_gone_on_with(left: Path, tmp_path: Path) -> None:
    assert read_run(left).header.run == "01"
    with resumed(tmp_path, seed=8) as session:
        assert (session.path, session.is_resumed, session.header.seed) == (left, True, 7)
        assert session.get(ONE) == read_run(left).cells[0]
        assert session.get(TWO) is None
        session.append(changed(CELL, users=2))
    assert set(session.cells) == {ONE, TWO}
    assert list(tmp_path.glob("*.jsonl")) == [left]


def test_what_is_finished_is_not_gone_on_with(left: Path, tmp_path: Path) -> None:
    with resumed(tmp_path) as session:
        session.finish()
    kept = left.read_bytes()
    with resumed(tmp_path) as session:
        assert (session.path.name, session.is_resumed, dict(session.cells)) == (
            "99.jsonl", False, {},
        )  # fmt: skip
    assert left.read_bytes() == kept
    assert read_run(left).is_ended
    with resumed(tmp_path, "100") as session:  # begun and unfinished: the newest run of this work
        assert session.path.name == "99.jsonl"


def test_points_known_beforehand_tell_what_is_left(tmp_path: Path) -> None:
    header = replace(HEADER, format=SWEEP_FORMAT)

    def is_left(session: Session) -> bool:
        return session.get(TWO) is None

    for number, users in enumerate((1, 2, 1)):
        named = replace(header, run=f"{number}")
        with Session.resume_or_begin("sweep", named, tmp_path, is_left) as session:
            session.append(changed(CELL, users=users))
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0.jsonl", "2.jsonl"]


def test_a_cell_is_kept_as_a_reader_has_it(tmp_path: Path) -> None:
    exact = replace(CELL, latencies_ms=(0.1 + 0.2,) * 3, machine=digest({"cpu": "y"}))
    with resumed(tmp_path) as session:
        kept = session.append(exact)
        assert kept == session.get(ONE) == read_run(session.path).cells[0]
    assert [*kept.latencies_ms] == [0.3, 0.3, 0.3]
    assert kept.changes == ("fingerprint",)


def test_the_last_attempt_counts(left: Path, tmp_path: Path) -> None:
    with resumed(tmp_path) as session:
        session.append(replace(CELL, attempt=2))
        assert session.cells[ONE].attempt == 2
    with resumed(tmp_path) as session:
        assert session.cells[ONE].attempt == 2


def test_the_file_is_read_once(left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []

    def counted(path: Path) -> Any:
        reads.append(path)
        return read_run(path)

    monkeypatch.setattr(sessions, "read_run", counted)
    with resumed(tmp_path) as session:
        for users in range(1, 20):
            session.append(changed(CELL, users=users))
            assert session.get(replace(ONE, load=Load(users)))
        session.finish()
    assert reads == [left]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"plan": HEADER.plan | {"slo": "p95=1ms"}}, "plan"),  # type: ignore[operator]
        ({"machine": {"cpu": "y"}, "versions": {"numpy": "3"}}, "machine, versions"),
        ({"variants": {"a": {"digest": "cd"}}}, "variants"),
        ({"gold": {"name": "own"}}, "gold"),
        ({"format": SWEEP_FORMAT}, "format"),
    ],
)
def test_another_one_is_left_alone_with_one_line(
    left: Path, tmp_path: Path, change: dict[str, Any], why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with resumed(tmp_path, **change) as session:
        assert session.path != left
    said = capsys.readouterr().err
    assert said == f"capacity: not going on with 01.jsonl: another {why}\n"


def test_of_what_is_finished_nothing_is_said(
    left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with resumed(tmp_path) as session:
        session.finish()
    with resumed(tmp_path, gold={"name": "own"}):
        pass
    assert capsys.readouterr().err == ""


def test_a_search_left_in_the_old_form_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "20261130T041358Z-capacity-tiny.jsonl"
    old.write_bytes((BEFORE / "capacity_unfinished.jsonl").read_bytes())
    run = read_run(old)
    again = replace(run.header, run="2027", format=SEARCH_FORMAT)
    with Session.resume_or_begin("capacity", again, tmp_path) as session:
        assert session.path.name == "2027.jsonl"
        assert not session.cells
    said = capsys.readouterr().err
    assert said == f"capacity: not going on with {old.name}: another format\n"
    assert read_run(old) == run
    with Session.resume_or_begin("capacity", replace(again, run="2028"), tmp_path) as session:
        assert session.path.name == "2027.jsonl"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("damage", ["rubbish\n", None])
def test_what_cannot_be_read_is_passed_over(
    left: Path, tmp_path: Path, damage: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    later = tmp_path / "02.jsonl"
    create_run(later, HEADER)
    append_cell(later, CELL)
    text = later.read_text().replace('"count":1000', '"count":999')
    later.write_text(text if damage is None else damage)
    with resumed(tmp_path) as session:
        assert session.path == left
    assert "capacity: passing over an unreadable run (run file" in capsys.readouterr().err


def test_it_is_held_alone_and_let_go_of(left: Path, tmp_path: Path) -> None:
    with resumed(tmp_path):
        with pytest.raises(UnusableInputError, match="another process is measuring into"):
            resumed(tmp_path)
        assert list(tmp_path.glob("*.jsonl")) == [left]
    with pytest.raises(KeyboardInterrupt), resumed(tmp_path):
        raise KeyboardInterrupt
    with resumed(tmp_path) as session:
        assert session.path == left


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
from test_session import CELL, resumed
from cells import changed

session = resumed(Path({folder!r}))
for users in range(2, 6):
    session.append(changed(CELL, users=users))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_lost_to_a_kill(left: Path, tmp_path: Path) -> None:
    here = Path(__file__).parent
    support = here.parents[1] / "support" / "runs"
    program = KILLED.format(path=[str(here), str(support)], folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    line = json.dumps({"kind": "end"}).encode()
    for cut in (0, 1, len(line)):  # a torn end line does not count
        with left.open("ab") as stream:
            stream.write(line[:cut])
        with resumed(tmp_path) as session:
            assert session.path == left
            assert {point.load.users for point in session.cells} == set(range(1, 6))
            session.append(changed(CELL, users=1))
    with resumed(tmp_path) as session:
        session.finish()
    with left.open("ab") as stream:
        stream.write(line)
        os.fsync(stream.fileno())
    assert read_run(left).is_ended
    with resumed(tmp_path) as session:
        assert session.path != left


def test_nothing_stands_behind_an_end(left: Path) -> None:
    with resumed(left.parent) as session:
        session.finish()
    append_cell(left, CELL)
    with pytest.raises(UnusableInputError, match="line 4: a 'cell' line has no place here"):
        read_run(left)
