"""The pages in the repository are what their run files give, byte for byte (plots apart)."""

from __future__ import annotations

from pathlib import Path

from readmes import committed

from tiankong.reports.copies import copy_names
from tiankong.reports.writing import write_pages

PAGES = Path(__file__).parents[2] / "reports" / "pages"


def test_the_pages_are_what_their_runs_give(tmp_path: Path) -> None:
    runs = committed()
    written = write_pages([*runs.values()], tmp_path, copies=copy_names([*runs], tmp_path))
    assert {path.name for path in written} <= {path.name for path in PAGES.iterdir()}
    # Drawings depend on a machine's fonts and libraries.
    texts = [path for path in written if path.suffix not in (".svg", ".png", ".pdf")]
    assert len(texts) == 9
    for path in texts:
        assert path.read_bytes() == (PAGES / path.name).read_bytes(), path.name
