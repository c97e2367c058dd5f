"""Evidence beside a run's cells: added up by its name, absent, unreadable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.evidence import ceiling_of, evidence_of
from tiankong.toolkit.runs.run_file import (
    SWEEP_FORMAT,
    append_cell,
    append_evidence,
    create_run,
    read_run,
)

BEFORE = Path(__file__).parents[2] / "data" / "before" / "run_format_2.jsonl"


def test_what_was_left_out_or_never_asked_for_is_none() -> None:
    found = {
        "image": {"bytes": 5},
        "distilbert": {"left_out": True},
        "ceilings": {"a": {"tokens": 16}, "b": {"left_out": True}},
    }
    older = read_run(BEFORE)
    run = replace(older, evidence=found)
    assert evidence_of(run, "image") == {"bytes": 5}
    assert evidence_of(run, "distilbert") is None
    assert evidence_of(older, "image") is None
    assert ceiling_of(run, "a") == {"tokens": 16}
    assert [ceiling_of(run, name) for name in ("b", "c")] == [None, None]
    assert ceiling_of(older, "a") is None


def test_evidence_of_one_name_is_added_up(tmp_path: Path) -> None:
    older, path = read_run(BEFORE), tmp_path / "r1.jsonl"
    create_run(path, replace(older.header, format=SWEEP_FORMAT))
    append_evidence(path, "ceilings", {"a": {"tokens": 16}})
    append_cell(path, older.cells[0])
    append_evidence(path, "ceilings", {"b": {"tokens": 16}, "a": {"tokens": 32}})
    append_evidence(path, "image", {"bytes": 5})
    run = read_run(path)
    assert [cell.point for cell in run.cells] == [older.cells[0].point]
    assert run.evidence == {
        "ceilings": {"a": {"tokens": 32}, "b": {"tokens": 16}},
        "image": {"bytes": 5},
    }


@pytest.mark.parametrize(
    "line", ['{"kind":"evidence"}', '{"kind":"evidence","name":"a","found":1}']
)
def test_evidence_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r1.jsonl"
    create_run(path, read_run(BEFORE).header)  # of a format without checksums
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UnusableInputError, match=r"r1\.jsonl, line 2: "):
        read_run(path)
