"""The largest run that a plan can make: what is judged once, how big its page gets."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from large_run import LEVELS, REPEATS, SERVERS, VARIANTS, large_run

from tiankong.reports.writing import HTML, write_pages
from tiankong.toolkit.files import MEBIBYTE
from tiankong.toolkit.runs import validity
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.run_file import Header, Run, read_run

MOST_PAGE_BYTES = 3 * 1_000_000
MOST_BYTES = 600 * MEBIBYTE
# A process counts the memory of the one that it was forked from: this small one forks the command.
MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, used = os.wait4(process.pid, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_cell_is_judged_once(
    make_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick_plots: None,
) -> None:
    seen: Counter[int] = Counter()

    def count(cell: Cell) -> None:
        seen[id(cell)] += 1

    monkeypatch.setattr(validity, "_CHECKS", (*validity._CHECKS, count))
    run = make_run()
    write_pages([run], tmp_path)
    assert seen == Counter(map(id, run.cells))


def test_the_largest_run_gives_a_short_page_in_little_memory_and_not_in_silence(
    make_header: Callable[..., Header], tmp_path: Path
) -> None:
    path, out = large_run(tmp_path / "run.jsonl", make_header()), tmp_path / "out"
    command = [sys.executable, "-m", "tiankong", "report", str(path), "--out", str(out)]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) * 1024 < MOST_BYTES  # Linux counts in KiB
    assert len(ran.stderr.splitlines()) > len(HTML)
    points = VARIANTS * len(SERVERS) * len(LEVELS)
    for name in HTML.values():
        assert (out / name).stat().st_size < MOST_PAGE_BYTES
        page = (out / name).read_text(encoding="utf-8")
        assert f"{points} " in page  # where all of them are
        assert page.count("<tr>") < points
    assert (out / "points.csv").read_bytes().count(b"\r\n") == points + 1
    assert (out / "cells.csv").read_bytes().count(b"\r\n") == points * REPEATS + 1


def test_times_take_eight_bytes_each(make_header: Callable[..., Header], tmp_path: Path) -> None:
    path = large_run(tmp_path / "run.jsonl", make_header(), variants=1, levels=(4,), answers=5000)
    cell = read_run(path).cells[0]
    assert len(cell.latencies_ms) > 2000
    assert memoryview(cell.latencies_ms).nbytes == 8 * len(cell.latencies_ms)  # type: ignore[arg-type]
