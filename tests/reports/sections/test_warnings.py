"""Warnings on pages: every reason in both languages, how much is valid, what was measured again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pages import figures_of, numbered, section

from tiankong.reports.text.language import read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run
from tiankong.toolkit.runs.validity import _CHECKS, doubts

pytestmark = pytest.mark.usefixtures("quick_plots")


def doubtful_cells(make_cell: Callable[..., Cell]) -> list[Cell]:
    """Cells that together give every warning there is."""

    def changed_cell(**changes: Any) -> Cell:
        return make_cell("onnx-int8", "reference", 8, 80, **changes)

    steady = [80.0] * 2000
    stalled = [(place + 1) * 7.5 for place in range(2000)]  # nothing in the last quarter
    rising = [math.sqrt((place + 1) / 2000) * 20_000 for place in range(2000)]
    slowing = [60.0] * 1300 + [120.0] * 700
    return [
        changed_cell(wrong=1, failures={"503": 2}),
        changed_cell(failures={"unanswered": 1}),
        changed_cell(changes=("kernel", "fingerprint")),
        changed_cell(
            generator_core_percent=81.0, generator_wait_percent=25.0, generator_late_ms=77.0
        ),
        changed_cell(throttled_percent=31.0, swapped_bytes=5 * 1024**2),
        changed_cell(other_cpu_percent=50.0, steal_percent=9.0),
        changed_cell(latencies_ms=[1.0] * 300),
        changed_cell(latencies_ms=[]),
        changed_cell(latencies_ms=steady, ends_ms=stalled),
        changed_cell(latencies_ms=steady, ends_ms=rising),
        changed_cell(latencies_ms=slowing, ends_ms=[(place + 1) * 10.0 for place in range(2000)]),
        make_cell("onnx-int8", "reference", 1, 900),
    ]


def test_every_warning_is_said_in_both_languages(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    cells = doubtful_cells(make_cell)
    codes = {warn.code for cell in cells for warn in doubts(cell)}
    words = read_language("zh").words
    assert codes == set(words["seen"]) == set(words["advice"])
    assert len(codes) == len(_CHECKS) + 1  # a check may say "no-requests" or "failures"

    write_pages([make_run({}, numbered(cells))], tmp_path)
    english = section(tmp_path / "report.md", "Warnings")
    chinese = section(tmp_path / "report.zh.md", "警告")
    assert "the closed loop's P99 of 80 ms hides it" in english
    assert "the generator's heartbeat was 77 ms late" in english
    assert "QPS in thirds" in english
    assert "P95 in thirds" in english
    for english_line, chinese_line in zip(english.splitlines(), chinese.splitlines(), strict=True):
        assert figures_of(english_line) == figures_of(chinese_line)
        assert chinese_line.count("使该次重复无效") == english_line.count("makes a repeat invalid")
    assert english.count("makes a repeat invalid") > 3
    for word in ("heartbeat", "thirds", "waits", "swapped", "held", "Try"):
        assert word not in chinese


def test_how_much_is_valid_is_said_at_the_top(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = section(tmp_path / "report.md", "The answer")
    assert (
        "21 of 23 measured cells are valid (a cell is one repeat of one point). 2 points" in english
    )
    assert "已测 23 个单元，其中 21 个有效" in section(tmp_path / "report.zh.md", "结论")
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    best, every = table.split("All 23 points")
    for name in ("onnx-int8", "onnx-fp16"):
        marked = f"**{name}** (article's server; invalid) (1 warning)"
        assert every.count(marked) == 1
        assert best.count(marked) == (name == "onnx-fp16")  # the other has a valid point too


def test_a_valid_run_says_nothing_of_broken_points(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    write_pages([make_run()], tmp_path)
    english = section(tmp_path / "report.md", "The answer")
    assert "20 of 20 measured cells are valid (" in english
    assert "no valid cell" not in english


@pytest.mark.parametrize(
    ("again", "said"),
    [
        ((1,), "1 cell was measured again (earlier"),
        ((1, 2, 2), "2 cells were measured again (earlier"),
    ],
)
def test_points_measured_again_are_counted(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    tmp_path: Path,
    again: tuple[int, ...],
    said: str,
) -> None:
    earlier = (
        make_cell("onnx-int8", "reference", 8, 50, repeat=repeat, steal_percent=9.0)
        for repeat in again
    )
    write_pages([replace(make_run(), superseded=tuple(earlier))], tmp_path)
    assert said in section(tmp_path / "report.md", "Warnings")
    assert f"{len(set(again))} 个单元重测过" in section(tmp_path / "report.zh.md", "警告")
    write_pages([make_run()], tmp_path)
    assert "again" not in section(tmp_path / "report.md", "Warnings")
