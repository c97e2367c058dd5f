"""The pages in the repository are what their run files give, byte for byte (plots apart)."""

from __future__ import annotations

from pathlib import Path

from tiankong.reports.copies import copy_names
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import read_run

PAGES = Path(__file__).parents[2] / "reports" / "pages"


def test_the_pages_are_what_their_runs_give(tmp_path: Path) -> None:
    paths = [PAGES / name for name in ("run.jsonl", "scaling.jsonl")]
    written = write_pages(
        [read_run(path) for path in paths], tmp_path, copies=copy_names(paths, tmp_path)
    )
    assert {path.name for path in written} <= {path.name for path in PAGES.iterdir()}
    # Drawings depend on a machine's fonts and libraries.
    texts = [path for path in written if path.suffix not in (".svg", ".png", ".pdf")]
    assert len(texts) == 9
    for path in texts:
        assert path.read_bytes() == (PAGES / path.name).read_bytes(), path.name
