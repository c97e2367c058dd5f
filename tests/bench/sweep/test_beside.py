"""What is measured once beside the cells: kept, not repeated, left out with a line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tiankong.bench.sweep.beside import Beside, measure_beside
from tiankong.bench.sweep.session import Session
from tiankong.toolkit.errors import InvalidMeasurementError, UnusableInputError
from tiankong.toolkit.runs.run_file import create_run, read_run

BEFORE = Path(__file__).parents[2] / "data" / "before" / "run_format_2.jsonl"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    create_run(tmp_path / "run.jsonl", read_run(BEFORE).header)
    return Session(tmp_path / "run.jsonl")


class Measured:
    """A thing to measure; ``times`` counts how often it was."""

    def __init__(self, found: Mapping[str, Any] | Exception) -> None:
        self.found = found
        self.times = 0

    def __call__(self) -> Mapping[str, Any]:
        self.times += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def test_each_is_measured_once(session: Session) -> None:
    first, second, whole = (Measured({"n": number}) for number in (1, 2, 3))
    things = [
        Beside("ceilings", "a", first),
        Beside("ceilings", "b", second),
        Beside("image", "", whole),
    ]
    measure_beside(session, things[:1])
    assert [thing.is_in(session) for thing in things] == [True, False, False]
    session.close()
    with Session(session.path) as again:  # as after an interruption
        measure_beside(again, things)
        assert all(thing.is_in(again) for thing in things)
    assert (first.times, second.times, whole.times) == (1, 1, 1)
    assert read_run(session.path).evidence == {
        "ceilings": {"a": {"n": 1}, "b": {"n": 2}},
        "image": {"n": 3},
    }


@pytest.mark.parametrize("key", ["", "a"])
def test_what_cannot_be_measured_is_left_out_with_one_line(
    session: Session, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = Measured(UnusableInputError("there is no network"))
    after = Measured({"n": 1})
    things = [Beside("image", key, failing), Beside("distilbert", "", after)]
    for _ in range(2):
        measure_beside(session, things)
    assert (failing.times, after.times) == (1, 1)
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(lines) == 1
    assert lines[0].endswith("is left out: there is no network")
    assert all(thing.is_in(session) for thing in things)


def test_an_error_of_ours_is_no_line(session: Session) -> None:
    with pytest.raises(ZeroDivisionError):
        measure_beside(session, [Beside("image", "", Measured(ZeroDivisionError()))])
    failing = Measured(InvalidMeasurementError("the server ended"))
    measure_beside(session, [Beside("distilbert", "", failing)])
    assert session.evidence == {"distilbert": {"left_out": True}}
