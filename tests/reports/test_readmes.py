"""The figures in the READMEs are those of the committed run files: no figure is typed there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from readmes import ANSWERS, HOME, PAGES, READMES, committed, main, refreshed

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.forms import LETTERED
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.toolkit.runs.run_file import Cell, Run, append_cell, create_run

Grow = Callable[..., tuple[Cell, ...]]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
# What every report has: a reader whose machine writes pages of his own run follows no dead link.
ALWAYS = {"index", "report", "summary", "answer", "card", "latency"}


@pytest.fixture(scope="module")
def report() -> Report:
    return compose([*committed().values()], read_article(), read_prices())


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_blocks_are_what_the_committed_runs_give(report: Report, code: str) -> None:
    text = (HOME / READMES[code]).read_text(encoding="utf-8")
    assert refreshed(text, report, read_language(code)) == text, "run: nox -s pages"


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_picture_and_file_is_there(code: str) -> None:
    links = LINK.findall((HOME / READMES[code]).read_text(encoding="utf-8"))
    assert len(links) > 20
    for link in links:
        assert (HOME / link).exists(), link
        if link.startswith(f"{PAGES}/"):
            assert Path(link).name.split(".")[0] in ALWAYS, link


def test_both_readmes_link_the_same_places_in_the_same_order() -> None:
    english, chinese = (
        [
            re.sub(r"\.zh(-CN)?\.", ".", link)
            for link in LINK.findall((HOME / READMES[code]).read_text(encoding="utf-8"))
        ]
        for code in ("en", "zh")
    )
    assert english == chinese


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with the READMEs and an empty folder of pages."""
    for name in READMES.values():
        shutil.copy(HOME / name, tmp_path)
    (tmp_path / PAGES).mkdir(parents=True)
    return tmp_path


def write(run: Run, path: Path) -> None:
    create_run(path, run.header)
    for cell in run.cells:
        append_cell(path, cell)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"tool": "0.0.1", "started": "2026-01-01T00:00:00+00:00"}, True),
        ({"tool": "9.9.9", "started": "2027-01-01T00:00:00+00:00"}, False),
        ({"machine": {"cpu": "Another CPU"}}, False),
    ],
)
def test_a_new_table_brings_pages_and_readmes_up_to_date_with_what_goes_with_it(
    home: Path, make_run: Callable[..., Run], make_scaling: Grow,
    change: dict[str, object], shown: bool, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = home / PAGES
    table = make_run(started="2026-06-01T00:00:00+00:00")
    if "machine" in change:
        change = {"machine": {**table.header.machine, "cpu": "Another CPU"}}
    write(table, out / ANSWERS)
    write(make_run({}, make_scaling("onnx-int8"), run="grown", **change), out / "scaling.jsonl")
    main(home)
    assert (out / "scaling.svg").exists() is shown
    assert (out / "scaling.jsonl").exists()
    told = capsys.readouterr().err
    assert ("pages: scaling.jsonl is left out: " in told) is not shown
    for name in READMES.values():
        text = (home / name).read_text(encoding="utf-8")
        assert f" {table.header.run}" in text
        links = [link for link in LINK.findall(text) if link.startswith(f"{PAGES}/")]
        # A machine without a Chinese font makes some forms not, and says so.
        assert all((home / link).exists() or Path(link).name in LETTERED for link in links)
