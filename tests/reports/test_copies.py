"""Run files beside the pages: copied under their names, and never lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
from large_run import large_run
from pages import read

import tiankong
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Header

pytestmark = pytest.mark.usefixtures("quick_plots")

Make = Callable[..., Path]


@pytest.fixture
def make(make_header: Callable[..., Header]) -> Make:
    def made(path: Path, run: str = "r1", repeats: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = make_header(run=run)
        return large_run(path, header, 2, ("reference",), (1, 4), repeats, answers=300)

    return made


def test_the_run_file_lies_beside_the_page_and_every_link_is_there(
    make: Make, tmp_path: Path
) -> None:
    path, out = make(tmp_path / "a" / "第 1 次.jsonl"), tmp_path / "out"
    written = tiankong.report([path], out)
    assert (out / path.name).read_bytes() == path.read_bytes()
    for name in ("index.html", "index.zh.html"):
        links = [unquote(link) for link in read(out / name).links if ":" not in link]
        files = [link for link in links if not link.startswith("#")]
        assert {path.name, "points.csv", "cells.csv", "summary.json"} <= {*files}
        assert all((out / link).is_file() for link in files)
    assert {out / path.name, out / "points.csv"} <= {*written}


def test_pages_into_the_folder_of_their_run_files_lose_none(make: Make, tmp_path: Path) -> None:
    paths = [make(tmp_path / name, name) for name in ("run.jsonl", "more.jsonl")]
    before = [path.read_bytes() for path in paths]
    for _ in range(2):
        tiankong.report(paths, tmp_path)
        assert [path.read_bytes() for path in paths] == before
    first = (tmp_path / "index.html").read_bytes()
    tiankong.report(paths, tmp_path / "elsewhere")  # the same bytes, wherever they are written
    assert (tmp_path / "elsewhere" / "index.html").read_bytes() == first


def test_two_files_of_one_name_are_both_there(make: Make, tmp_path: Path) -> None:
    paths = [make(tmp_path / name / "run.jsonl", name) for name in ("a", "b")]
    tiankong.report(paths, tmp_path / "out")
    assert (tmp_path / "out" / "run.jsonl").read_bytes() == paths[0].read_bytes()
    assert (tmp_path / "out" / "run-2.jsonl").read_bytes() == paths[1].read_bytes()


def test_another_measurement_of_that_name_is_not_written_over(make: Make, tmp_path: Path) -> None:
    mine = make(tmp_path / "out" / "run.jsonl", "mine")
    other = make(tmp_path / "run.jsonl", "other")
    before = mine.read_bytes()
    with pytest.raises(UnusableInputError, match="another measurement"):
        tiankong.report([other], mine.parent)
    assert [*mine.parent.iterdir()] == [mine]
    assert mine.read_bytes() == before


def test_a_copy_that_has_grown_is_copied_again(make: Make, tmp_path: Path) -> None:
    path = make(tmp_path / "run.jsonl", repeats=2)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-2]))
    tiankong.report([path], tmp_path / "out")
    path.write_bytes(whole)
    tiankong.report([path], tmp_path / "out")
    assert (tmp_path / "out" / "run.jsonl").read_bytes() == whole


def test_a_run_file_with_the_name_of_a_page_is_not_replaced_by_it(
    make: Make, tmp_path: Path
) -> None:
    path = make(tmp_path / "index.html")
    before = path.read_bytes()
    with pytest.raises(UnusableInputError, match="rename it"):
        tiankong.report([path], tmp_path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before
