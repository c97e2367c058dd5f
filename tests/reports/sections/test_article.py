"""The article beside what was measured here: what is invalid is marked, and said to be measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.article import article_grid, claims_grid
from tiankong.reports.sections.points import measured
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.toolkit.runs.run_file import Cell, Run

ENGLISH = read_language("en")
OURS = {("onnx-int8", "reference"): {8: 50.0}}


@pytest.fixture
def report_of(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> Callable[[int], Report]:
    """A report of a run in which the article's server gave so many wrong answers with 8 users."""

    def make(wrong: int) -> Report:
        cells = (
            make_cell("onnx-fp32", "article", 4, 125.0, wrong=1),
            make_cell("onnx-fp32", "article", 8, 200.0, wrong=wrong),
        )
        return compose([make_run(OURS, cells)], read_article(), ())

    return make


def _last_note(report: Report) -> str:
    section = measured(report, ENGLISH)
    assert section is not None
    return section.notes[-1]


def test_a_server_whose_measurements_are_all_invalid_was_measured(
    report_of: Callable[[int], Report], make_run: Callable[..., Run]
) -> None:
    note = _last_note(report_of(1))
    assert note.startswith("The article's own server was measured in this run, but none")
    assert "(wrong answers)" in note
    assert "“× article's server” compares" in _last_note(report_of(0))
    never = compose([make_run(OURS)], read_article(), ())
    assert "was not measured in this run" in _last_note(never)


@pytest.mark.parametrize("code", LANGUAGES)
def test_invalid_figures_are_marked_beside_the_articles(
    report_of: Callable[[int], Report], code: str
) -> None:
    language = read_language(code)
    rows = {row[0].text: row[6:10] for row in article_grid(report_of(0), language).rows}
    marked = {(entry.note, entry.tone) for entry in rows["4"]}
    assert marked == {(language.say("cell.invalid"), "bad")}
    assert {(entry.note, entry.tone) for entry in rows["8"]} == {("", "")}
    assert {entry.text for entry in rows["1"]} == {"–"}


def test_an_average_of_invalid_measurements_is_not_shown(
    report_of: Callable[[int], Report],
) -> None:
    def average(wrong: int) -> str:
        (row,) = (r for r in claims_grid(report_of(wrong), ENGLISH).rows if "Average" in r[0].text)
        return row[2].text

    assert average(0) == "200 ms, the article's server at 8 users"
    assert average(1) == "measured, but no measurement is valid"
