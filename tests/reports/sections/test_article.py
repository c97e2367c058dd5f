"""The article beside what was measured here: what is invalid is marked, and said to be measured."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.article import article, article_grid, claims_grid
from tiankong.reports.sections.points import measured
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.toolkit.runs.run_file import Cell, Run

ENGLISH = read_language("en")
OURS = {("onnx-int8", "reference"): {8: 50.0}}
SPEEDS = OURS | {("onnx-fp32", "article"): {1: 25.0, 4: 125.0, 8: 200.0, 16: 400.0}}
BASE = {"name": "builtin", "layers": 12, "hidden": 768, "parameters": 102_000_000}
CHEAPER = "CPU cheaper than the T4, a machine for a machine"


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
    assert "“× article's server at equal users” compares" in _last_note(report_of(0))
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


def test_claims_are_judged_in_words_with_the_arithmetic(
    make_run: Callable[..., Run],
) -> None:
    report = compose([make_run()], read_article(), read_prices())
    rows = {row[0].text: row for row in claims_grid(report, ENGLISH).rows}
    _, judged, quoted, here, arithmetic = rows["P95, 1 user"]
    assert (quoted.text, here.text, judged.text) == (
        "45 ms", "25.0 ms at 1 user", "contradicts itself",
    )  # fmt: skip
    assert arithmetic.text.startswith(
        "1 ÷ 21/s = 47.6 ms on average (Little's law), above its own P95"
    )
    assert judged.tone == "bad"
    assert rows["Model file, FP16"][1].tone == "good"
    assert "= 80.0 %, which is not over 80 %." in rows[CHEAPER][4].text
    assert "(¥1,200 − ¥700) ÷ ¥1,200 = 41.7 %" in rows[CHEAPER][4].text


def test_the_section_counts_the_verdicts(make_run: Callable[..., Run]) -> None:
    report = compose([make_run()], read_article(), read_prices())
    section = article(report, ENGLISH)
    claims, *_ = section.grids
    words = ["reproduced", "not reproduced", "contradicts itself", "not measured"]
    counts = [sum(row[1].text == word for row in claims.rows) for word in words]
    assert re.findall(r"\d+", section.paragraphs[0].split(")")[0]) == ["24", "2026", "01"]
    numbers = re.findall(r"\d+", section.paragraphs[0].split(")")[1])
    assert [int(number) for number in numbers] == counts
    assert sum(counts) == 24


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_finding_has_words(make_run: Callable[..., Run], code: str) -> None:
    """Whatever was measured, no text is missing and no placeholder is left."""
    language = read_language(code)
    small = {"name": "builtin-small", "layers": 4, "hidden": 256, "parameters": 5_200_000}
    machines = [{"usable_cores": cores} for cores in (2, 3, 8)]
    reports = [
        compose([make_run(speeds, model=model, machine=machine)], read_article(), read_prices())
        for speeds in (SPEEDS, OURS, {("onnx-fp32", "article"): {1: 25.0, 16: 900.0}})
        for model in (BASE, small)
        for machine in ({"cpu": "C", "architecture": "x86_64", **entry} for entry in machines)
    ]
    for report in reports:
        for row in claims_grid(report, language).rows:
            for entry in row:
                assert "{" not in entry.text
                assert "None" not in entry.text
