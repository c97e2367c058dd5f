"""The largest run that a plan can make: what is judged once, how big its page gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from large_run import LEVELS, REPEATS, SERVERS, VARIANTS, large_run

from tiankong.reports.writing import HTML, write_pages
from tiankong.toolkit.runs import validity
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.run_file import Header, Run, read_run

MOST_PAGE_BYTES = 3 * 1_000_000


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


@pytest.mark.usefixtures("quick_plots")
def test_the_page_of_the_largest_run_is_small(
    make_header: Callable[..., Header], tmp_path: Path
) -> None:
    run = read_run(large_run(tmp_path / "run.jsonl", make_header(), answers=140))
    assert len(run.cells) == VARIANTS * len(SERVERS) * len(LEVELS) * REPEATS
    write_pages([run], tmp_path / "out")
    for name in HTML.values():
        assert (tmp_path / "out" / name).stat().st_size < MOST_PAGE_BYTES


def test_times_take_eight_bytes_each(make_header: Callable[..., Header], tmp_path: Path) -> None:
    path = large_run(tmp_path / "run.jsonl", make_header(), variants=1, levels=(4,), answers=5000)
    cell = read_run(path).cells[0]
    assert len(cell.latencies_ms) > 2000
    assert memoryview(cell.latencies_ms).nbytes == 8 * len(cell.latencies_ms)  # type: ignore[arg-type]
