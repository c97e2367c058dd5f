"""The ledger of a proof: values by key and terms; torn lines are ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.bench.proof.ledger import Ledger
from tiankong.toolkit.errors import UnusableInputError

TERMS = {"model": "m", "seconds": (1.0, 2.0)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proof" / "ledger.jsonl"


def test_what_was_measured_is_there_again(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Ledger(path, TERMS)
    assert first.get(("search", 1)) is None
    assert first.append(("search", 1), {"score": 9.5, "doubts": ("stolen",)})["doubts"] == [
        "stolen"
    ]
    first.append(("tune", None), {"users": 4})
    first.append(("search", 1), {"score": 10.0})
    again = Ledger(path, TERMS)
    assert again.values == first.values
    assert list(again.values) == [("search", 1), ("tune", None)]
    assert again.get(("search", 1)) == {"score": 10.0}
    assert capsys.readouterr().err == ""


def test_lines_under_other_terms_are_left_alone(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Ledger(path, TERMS).append(("a",), {"n": 1})
    other = Ledger(path, TERMS | {"model": "another"})
    assert not other.values
    said = capsys.readouterr().err
    assert "ledger: the newest in" in said
    assert said.endswith("is not gone on with: another model\n")
    other.append(("a",), {"n": 2})
    assert Ledger(path, TERMS).get(("a",)) == {"n": 1}


def test_a_line_cut_short_is_left_out_then_cut_off(path: Path) -> None:
    Ledger(path, TERMS).append(("a",), {"n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:30])
    ledger = Ledger(path, TERMS)
    assert dict(ledger.values) == {("a",): {"n": 1}}
    ledger.append(("b",), {"n": 2})
    assert path.read_bytes().startswith(whole + b"{")
    assert list(Ledger(path, TERMS).values) == [("a",), ("b",)]


@pytest.mark.parametrize("line", ["no JSON", "{}", '{"terms": {}, "look": {}}', "[]"])
def test_a_line_that_cannot_be_read_is_named(path: Path, line: str) -> None:
    Ledger(path, TERMS).append(("a",), {"n": 1})
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UnusableInputError, match=r"ledger\.jsonl, line 2 cannot be read"):
        Ledger(path, TERMS)
