"""The table of the command line and of a job's summary."""

from __future__ import annotations

import pytest

from tiankong.reports.small_table import markdown_table
from tiankong.toolkit.runs.run_file import Run

pytestmark = pytest.mark.usefixtures("quick_plots")


def test_the_job_summary_is_one_small_table(doubtful: Run) -> None:
    text = markdown_table(doubtful)
    lines = text.splitlines()
    assert lines[0] == "**bert-base geometry, built in**, run 20260101-test"
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert any("onnx-int8 (reference server) | 16 | 160 | 4.00 | 100 |" in line for line in table)
    assert "too few" in text
    assert "1 instance of onnx-int8 on" in text
