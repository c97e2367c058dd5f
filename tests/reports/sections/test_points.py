"""Points on pages: the table with its intervals, open loops, scaling."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import CHINESE, GROWTH, NAMES, PICTURES, figures_of, read, section

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.points import measured
from tiankong.reports.sections.warnings import warnings
from tiankong.reports.small_table import markdown_table
from tiankong.reports.text.language import read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

pytestmark = pytest.mark.usefixtures("quick_plots")

ENGLISH = read_language("en")


def test_repeats_show_their_intervals(repeated: Run, tmp_path: Path) -> None:
    write_pages([repeated], tmp_path)
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    row = next(line for line in table.splitlines() if line.startswith("| onnx-int8"))
    assert re.search(r"\| 8 \(2 repeats\) \| 157 \(14\d–17\d\) \|", row)
    assert "95 % intervals stand below them: Student's t" in table
    answer = section(tmp_path / "report.md", "The answer")
    assert "onnx-int8 or onnx-fp16" in answer
    assert "too close to call" in answer
    assert "measured once" not in answer
    assert "| 8 (2 repeats) | 157 (14" in markdown_table(repeated)


def test_a_single_repeat_shows_none(make_run: Callable[..., Run], tmp_path: Path) -> None:
    write_pages([make_run()], tmp_path)
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    assert "No interval is shown" in table
    assert "–" not in table.split("\n\n")[0].replace("| – |", "")
    assert "each point was measured once" in section(tmp_path / "report.md", "The answer")


def test_counts_say_what_they_count_and_add_up(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    spoiled = make_cell("onnx-int8", "reference", 1, 16, repeat=2, wrong=1)
    report = compose([make_run(cells=(spoiled,))], read_article(), read_prices())
    found, doubts = measured(report, ENGLISH), warnings(report, ENGLISH)
    assert found is not None
    assert "points: 20, cells (repeats of these points): 21, valid cells: 20;" in found.gist
    assert "points without a valid cell: 0, points with warnings: 1" in found.gist
    assert doubts.gist.endswith(
        "in cells: 1, of points under any load: 1; points without a valid cell: 0"
    )


def test_columns_few_machines_know_are_shown_where_one_does(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    write_pages([make_run()], tmp_path / "without")
    without = (tmp_path / "without" / "report.md").read_text(encoding="utf-8")
    assert "Joules" not in without
    assert "of quota" not in without
    full = make_cell("onnx-int8", "article", 1, 50, server_quota_percent=93.0, joules=200.0)
    write_pages([make_run(cells=(full,))], tmp_path / "with")
    table = section(tmp_path / "with" / "report.md", "Throughput, latency and CPU")
    assert "Joules a request" in table
    every = table.split("All 21 points")[1]
    row = next(line for line in every.splitlines() if line.startswith("| onnx-int8 (article"))
    assert "| 93 % |" in row
    assert "| 0.500 |" in row  # 200 J over 400 answers


PLAIN_ONLY = ("Throughput, latency and CPU", "The article", "Latency as users", "What a million")


def test_a_run_of_the_scaling_plan_alone(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]], tmp_path: Path
) -> None:
    run = make_run({}, make_scaling())
    written = {path.name for path in write_pages([run], tmp_path)}
    assert written - CHINESE == (NAMES - PICTURES) | GROWTH
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    answer = section(tmp_path / "report.md", "The answer")
    assert "hold no closed-loop point over the gold set" in answer
    assert "## Scaling" in text
    assert "](scaling.svg)" in text
    assert not any(f"## {heading}" in text for heading in PLAIN_ONLY)
    for name in ("index.html", "index.zh.html"):
        page = read(tmp_path / name)
        for link in page.links:
            assert link == "data:," or link[1:] in page.ids or (tmp_path / link).is_file(), link
    table = [line for line in markdown_table(run).splitlines() if line.startswith("|")]
    assert len(table) == 2 + 11
    assert any("1 user, 16 tokens, batches of 4 | 250 |" in line for line in table)


def test_a_run_of_open_loops_alone(
    make_run: Callable[..., Run], make_open_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    late = make_open_cell("onnx-int8", 80.0, 400, latencies_ms=[400.0] * 800)
    cells = (make_open_cell("onnx-int8", 40.0, 20), late)
    run = make_run({}, cells)
    written = {path.name for path in write_pages([run], tmp_path)}
    assert written - CHINESE == NAMES - PICTURES
    table = section(tmp_path / "report.md", "Open loop: Poisson arrivals")
    rows = [line for line in table.splitlines() if line.startswith("| onnx-int8")]
    # Arrivals, answered, goodput within 130 ms, P50, P95, P99, sent late.
    assert "| 40 | 40.0 | 40.0 | 20.0 | 20.0 | 20.0 | 0.500 |" in rows[0]
    assert "| 80 | 40.0 | 0 | 400 | 400 | 400 |" in rows[1]
    assert "80 arrivals a second" in markdown_table(run)
    assert "arrivals a second: 40, 80" in section(tmp_path / "report.md", "How it was measured")


def test_every_kind_of_point_on_one_page(
    make_run: Callable[..., Run],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_open_cell: Callable[..., Cell],
    tmp_path: Path,
) -> None:
    cells = (*make_scaling(), make_open_cell("onnx-int8", 40.0, 20, tokens=16))
    written = {path.name for path in write_pages([make_run(cells=cells)], tmp_path)}
    assert written - CHINESE == NAMES | GROWTH
    english, chinese = tmp_path / "report.md", tmp_path / "report.zh.md"
    for heading, other in (
        ("Open loop: Poisson arrivals", "开环：泊松到达"),
        ("Scaling: sentence length, batch, cores, concurrency", "扩展性：句长、批量、核心、并发"),
    ):
        assert figures_of(section(english, heading)) == figures_of(section(chinese, other))
    measured = section(english, "Throughput, latency and CPU")
    best, every = measured.split("All 20 points")
    for table, rows in ((best, 5), (every, 20)):  # a best point a series; all points
        assert len([line for line in table.splitlines() if line.startswith("|")]) == 2 + rows

    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["points"]) == 20 + 11 + 1
    assert summary["cells"] == {"measured": 32, "valid": 32, "superseded": 0}
    (batch,) = [point for point in summary["points"] if point["batch"] == 4]
    assert (batch["mode"], batch["users"], batch["tokens"], batch["cores"]) == (
        "closed",
        1,
        16,
        None,
    )
    assert batch["qps"]["value"] == 62.5
    assert batch["sentences_per_second"]["value"] == 250
    assert batch["p99_ms"]["value"] == 16
    (arriving,) = [point for point in summary["points"] if point["mode"] == "open"]
    assert (arriving["rate"], arriving["goodput"], arriving["late_p99_ms"]) == (40, 40, 0.5)
    assert [axis["axis"] for axis in summary["scaling"]] == ["tokens", "batch", "cores", "users"]
    assert summary["scaling"][1] == {
        "axis": "batch",
        "levels": [1, 2, 4],
        "fixed": {"users": 1, "tokens": 16, "cores": None},
        "series": [{"variant": "onnx-int8", "stack": "reference"}],
    }
