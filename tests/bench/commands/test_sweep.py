"""What a sweep ends with: 3 where a point has no valid repeat, a warning where one was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from cells import changed
from planted_doubts import planted
from sound_cell import CELL

from tiankong.bench.commands.sweep import LISTED, require_valid
from tiankong.toolkit.errors import InvalidMeasurementError
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.run_file import Header, Run
from tiankong.toolkit.runs.validity import CODES, invalidating

HEADER = Header("r1", "2026-01-01T00:00:00+00:00", "tiankong", {}, {}, {}, {}, {}, {}, 0)
SOUND = replace(CELL, ends_ms=tuple(10.0 * n for n in range(1, 1001)))
OUTSIDE = {code: planted(SOUND, code) for code in ("little", "stolen", "unstable", "machine-busy")}


def run(cells: Sequence[Cell]) -> Run:
    return Run(HEADER, tuple(cells))


@pytest.mark.parametrize("code", OUTSIDE)
def test_a_disturbed_repeat_beside_a_valid_one_is_a_warning(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    require_valid(run([SOUND, changed(OUTSIDE[code], repeat=2)]))
    said = capsys.readouterr().err
    assert "1 of 2 cells" in said
    assert f"onnx-int8, 1 users ({code})" in said


@pytest.mark.parametrize("code", OUTSIDE)
def test_a_point_without_a_valid_repeat_is_named(code: str) -> None:
    others = [changed(SOUND, variant=name) for name in ("onnx-fp32", "onnx-fp16")]
    with pytest.raises(InvalidMeasurementError, match=rf"1 of 3 cells .*onnx-int8.*\({code}\)"):
        require_valid(run([*others, OUTSIDE[code]]))


def test_what_the_server_did_is_not_left_out() -> None:
    bad = changed(SOUND, repeat=2, wrong=1)
    with pytest.raises(InvalidMeasurementError, match="wrong-answers"):
        require_valid(run([SOUND, bad]))


def test_many_are_not_all_named() -> None:
    cells = [changed(SOUND, users=users, wrong=1) for users in range(1, LISTED + 4)]
    with pytest.raises(InvalidMeasurementError, match="and 3 more") as raised:
        require_valid(run(cells))
    assert str(raised.value).count("wrong-answers") == LISTED


def test_the_planted_ones_are_what_they_say() -> None:
    assert set(OUTSIDE) <= set(CODES)
    for code, cell in OUTSIDE.items():
        assert [warn.code for warn in invalidating(cell)] == [code]


def test_nothing_is_said_of_a_sound_run(capsys: pytest.CaptureFixture[str]) -> None:
    require_valid(run([SOUND, changed(SOUND, repeat=2)]))
    assert capsys.readouterr().err == ""
