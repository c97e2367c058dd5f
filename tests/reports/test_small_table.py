"""The table of the command line and of a job's summary."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiankong.reports.facts.question import Wishes
from tiankong.reports.small_table import markdown_table
from tiankong.toolkit.runs.run_file import Run

pytestmark = pytest.mark.usefixtures("quick_plots")


def test_the_job_summary_is_the_answer_a_table_and_the_command(doubtful: Run) -> None:
    text = markdown_table(doubtful)
    lines = text.splitlines()
    assert lines[0] == "**bert-base geometry, built in**, run 20260101-test: not decided"
    assert lines[2].startswith("**Not decided, because ")
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    series = 2 + 7  # the head and its rule; each variant behind each server, once
    assert len(table) == series
    assert any("onnx-int8 (reference server) | 8 | 160 | 50.0 | yes (" in line for line in table)
    assert any(line.startswith("- **Runner-up**: ") for line in lines)
    shell = text.split("```sh\n", 1)[1].split("```", 1)[0]
    assert "tiankong serve --model builtin-base --variant onnx-int8" in shell


def test_without_an_answer_there_is_no_command(make_run: Callable[..., Run]) -> None:
    text = markdown_table(make_run(), Wishes(slo="p95=1ms"))
    assert text.startswith(
        "**bert-base geometry, built in**, run 20260101-test: objective not kept\n\n"
        "**No variant keeps P95 ≤ 1 ms on this machine."
    )
    assert "```" not in text


def test_a_variant_left_out_is_not_said_to_keep_the_objective(make_run: Callable[..., Run]) -> None:
    text = markdown_table(make_run(), Wishes(without=("onnx-int8",)))
    rows = [line for line in text.splitlines() if line.startswith("| onnx-int8 (reference")]
    assert rows
    assert all("| left out by you |" in line for line in rows)
    (other,) = (line for line in text.splitlines() if line.startswith("| onnx-fp16 (reference"))
    assert "| yes" in other


def test_a_ratio_says_under_which_load_it_is_one(make_run: Callable[..., Run]) -> None:
    assert "| × article's server at equal users |" in markdown_table(make_run())
