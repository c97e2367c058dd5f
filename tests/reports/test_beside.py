"""Machines side by side: only when asked, each labelled, no verdict over both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe import violations
from large_run import large_run
from pages import read
from typer.testing import CliRunner

from tiankong.__main__ import app
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Header

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("quick_plots")

Make = Callable[..., Path]


@pytest.fixture
def make(make_header: Callable[..., Header], tmp_path: Path) -> Make:
    def made(run: str, **machine: Any) -> Path:
        small = make_header()
        header = make_header(run=run, machine={**small.machine, **machine})
        path = tmp_path / run / "run.jsonl"
        path.parent.mkdir()
        return large_run(path, header, 2, ("reference",), (1, 4), 2, answers=300)

    return made


def report(*words: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_two_machines_are_refused_unless_asked(make: Make, tmp_path: Path) -> None:
    runs = make("a"), make("b", cpu="另一种 CPU")
    done = report(*runs, "--out", tmp_path / "out")
    assert isinstance(done.exception, UnusableInputError)
    assert "--side-by-side" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_each_machine_is_labelled_and_has_pages_of_its_own(make: Make, tmp_path: Path) -> None:
    runs, out = (make("a"), make("b", cpu="另一种 CPU")), tmp_path / "out"
    assert report(*runs, "--side-by-side", "--out", out).exit_code == 0
    for name in ("index.html", "index.zh.html"):
        page = read(out / name)
        assert {"machine-1", "machine-2"} <= {*page.ids}
        assert "answer" not in page.ids  # no verdict over both
        words = " ".join(page.words)
        assert "Test CPU" in words
        assert "bert-base geometry" in words
        assert "另一种 CPU" in words
        links = [link for link in page.links if ":" not in link]
        assert {f"1/{name}", f"2/{name}"} <= {*links}
        assert all((out / link).is_file() for link in links)
    for number, path in enumerate(runs, start=1):
        assert (out / f"{number}" / "run.jsonl").read_bytes() == path.read_bytes()
        assert "answer" in read(out / f"{number}" / "index.html").ids


def test_each_page_is_what_its_runs_give_alone(make: Make, tmp_path: Path) -> None:
    runs, out = (make("a"), make("b", usable_cores=8)), tmp_path / "out"
    assert report(*runs, "--side-by-side", "--out", out).exit_code == 0
    for number, path in enumerate(runs, start=1):
        alone = tmp_path / f"alone-{number}"
        assert report(path, "--out", alone).exit_code == 0
        for file in alone.iterdir():
            assert file.read_bytes() == (out / f"{number}" / file.name).read_bytes()


def test_one_machine_has_nothing_beside_it(make: Make, tmp_path: Path) -> None:
    done = report(make("a"), make("b"), "--side-by-side", "--out", tmp_path / "out")
    assert isinstance(done.exception, UnusableInputError)
    assert "these runs are of one" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "scheme"), [("index.html", "light"), ("index.zh.html", "dark")])
def test_nothing_keeps_anyone_from_reading_them(
    make: Make, tmp_path: Path, browser: Browser, name: str, scheme: Any
) -> None:
    runs, out = (make("a"), make("b", cpu="另一种 CPU")), tmp_path / "out"
    assert report(*runs, "--side-by-side", "--out", out).exit_code == 0
    context = browser.new_context(color_scheme=scheme)
    try:
        page = context.new_page()
        page.goto((out / name).as_uri())
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 844})
            assert violations(page) == [], width
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        context.close()
