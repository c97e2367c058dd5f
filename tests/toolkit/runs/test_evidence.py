from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tiankong.toolkit.runs.evidence import ceiling_of, evidence_of
from tiankong.toolkit.runs.run_file import read_run

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
