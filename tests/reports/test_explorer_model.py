"""The explorer answers as Python does: the same question, to the cent and to the letter.

Its functions run in a real Chromium, on what the page holds.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from explored import OWN_PRICES, Kinds, Texts, asked, questions, wished

from tiankong.reports.facts.candidates import Candidate
from tiankong.reports.facts.costs import Range
from tiankong.reports.facts.question import NO_WISHES, Wishes
from tiankong.reports.facts.report import Report
from tiankong.reports.printing import TEMPLATES
from tiankong.reports.sections.answer import card, sentences
from tiankong.reports.sections.explorer import candidates_table, explorer
from tiankong.reports.text import figures
from tiankong.reports.text.language import LANGUAGES, read_language

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCRIPTS = ("model", "figures", "words", "table", "question", "plot")
EACH = 45  # random questions to a report; with the edges more than a thousand in all
# Answers of every page to every question, as plain data.
ANSWER = """(text) => {
  const [data, asked] = JSON.parse(text);
  const facts = explorer.revived(data.facts);
  const voice = explorer.voice(data.words);
  const figure = (range) => range && [range.value, range.low, range.high];
  return JSON.stringify(asked.map((texts) => {
    const { asked, wrong } = explorer.question(texts, facts);
    if (Object.keys(wrong).length) return { wrong };
    const found = explorer.answer(asked, facts);
    const lines = voice.lines(found, facts, data.cells);
    return {
      status: found.status,
      load: found.asked.load,
      candidates: found.candidates.map((each) => ({
        series: [each.variant, each.stack],
        capacity: figure(each.capacity && each.capacity.qps),
        instances: figure(each.instances),
        monthly: figure(each.monthly),
        million: figure(each.perMillion),
      })),
      sentences: [voice.headline(found),
                  ...lines.map((line) => line.text)],
      labels: lines.map((line) => line.label),
      commands: explorer.commands(found, facts),
      rows: explorer.rows(voice, found, facts).map((row) =>
        row.map((entry) => [entry.text, entry.note, entry.tone])),
    };
  }));
}"""
SPOKEN = {code: read_language(code) for code in LANGUAGES}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """A page with the explorer's functions, without the part that needs its form."""
    opened = browser.new_page()
    parts = [(TEMPLATES / f"explorer_{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    opened.add_script_tag(content='"use strict";\nconst explorer = {};\n' + "\n".join(parts))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reports(
    make_run: Callable[..., Any], make_cell: Callable[..., Any],
    make_open_cell: Callable[..., Any], make_variant: Callable[..., Any],
    make_gate: Callable[..., Any], make_header: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Report]:  # fmt: skip
    own = tmp_path_factory.mktemp("prices") / "own.toml"
    own.write_text(OWN_PRICES, encoding="utf-8")
    kinds = Kinds(make_run, make_cell, make_open_cell, make_variant, make_gate, make_header)
    return kinds.all(own)


def test_the_explorer_answers_as_python_does(page: Page, reports: dict[str, Report]) -> None:
    compared, statuses = 0, set()
    for name, report in reports.items():
        pages = {code: _data(report, code) for code in LANGUAGES}
        facts = pages["en"]["facts"]
        usual = page.evaluate("(facts) => explorer.usual(facts)", facts)
        keys = [price["key"] for price in facts["prices"]]
        many = list(questions(report, usual, keys, EACH))
        found = {
            code: json.loads(page.evaluate(ANSWER, json.dumps([data, many])))
            for code, data in pages.items()
        }
        for place, texts in enumerate(many):
            expected = _expected(report, texts, usual)
            for code in LANGUAGES:
                _compare(found[code][place], expected, code, f"{name} {code} {texts}")
            statuses.add(expected.answer.status)
            compared += 1
    assert compared > 1000
    assert statuses == {"decided", "tie", "undecided", "nothing-holds", "nothing"}


def _data(report: Report, code: str) -> dict[str, Any]:
    made = explorer(report, SPOKEN[code])
    assert made is not None
    assert "<" not in made.data  # nothing in it ends the script element
    return dict(json.loads(made.data))


def _expected(report: Report, texts: Texts, usual: Texts) -> Report:
    stated = {field: getattr(WISHES, field) for field in report.question.stated}
    wishes = wished(texts, usual, replace(NO_WISHES, **stated))
    return asked(report, wishes)


# Those of the report "wishes" (tests/support/pages/explored.py).
WISHES = Wishes("p50=50ms", 300.0, 0.2, 0.25, 2, "ecs.c6.large=500")


def _compare(found: dict[str, Any], report: Report, code: str, about: str) -> None:
    language, expected = SPOKEN[code], report.answer
    assert found.get("status") == expected.status, (about, found)
    assert found["load"] == expected.question.load, about
    told = [each["series"] for each in found["candidates"]]
    assert told == [list(each.series) for each in expected.candidates], about
    for each, candidate in zip(found["candidates"], expected.candidates, strict=True):
        _compare_candidate(each, candidate, about)
    assert found["sentences"] == sentences(report, language), about
    made = card(report, language)
    assert found["labels"] == [line.label for line in made.lines], about
    assert found["commands"] == list(made.commands), about
    rows = [
        [[entry.text, entry.note, entry.tone] for entry in row]
        for row in candidates_table(report, language).rows
    ]
    assert found["rows"] == rows, about


def _compare_candidate(found: dict[str, Any], expected: Candidate, about: str) -> None:
    capacity = expected.capacity and expected.capacity.qps
    assert found["capacity"] == _parts(capacity), about
    counts = expected.instances
    assert found["instances"] == (None if counts is None else list(counts)), about
    for key, figure in (("monthly", expected.monthly), ("million", expected.per_million)):
        parts = _parts(figure)
        assert found[key] == (parts and pytest.approx(parts, rel=1e-12)), about


def _parts(figure: Range | None) -> list[float] | None:
    return None if figure is None else [figure.value, figure.low, figure.high]


def test_numbers_are_written_as_python_writes_them(page: Page) -> None:
    source = random.Random(18)
    halves = [0.5, 1.5, 2.5, 12.25, 166.5, 1.125, 0.125, 99.95, 999.5, 0.005, 1.005, 52.925]
    numbers = [0.0, *halves, *(10.0**power for power in range(-6, 13))]
    numbers += [source.uniform(0, 1) * 10 ** source.uniform(-5, 12) for _ in range(2000)]
    numbers += [source.randrange(4000) / 8 for _ in range(500)]
    found = page.evaluate(
        """(numbers) => numbers.map((number) => [
          explorer.significant(number), explorer.amount(number), explorer.percent(number),
          explorer.unrounded(number)])""",
        numbers,
    )
    for number, told in zip(numbers, found, strict=True):
        assert told == [
            figures.significant(number),
            figures.amount(number),
            figures.percent(number),
            figures.unrounded(number),
        ], number


def test_a_link_asks_the_question_that_it_was_copied_from(
    page: Page, reports: dict[str, Report]
) -> None:
    for report in reports.values():
        facts = _data(report, "en")["facts"]
        usual = page.evaluate("(facts) => explorer.usual(facts)", facts)
        keys = [price["key"] for price in facts["prices"]]
        many = list(questions(report, usual, keys, EACH))
        again = page.evaluate(
            """([facts, many]) => many.map((texts) =>
              explorer.fromHash(explorer.toHash(texts, facts), facts))""",
            [facts, many],
        )
        for texts, back in zip(many, again, strict=True):
            assert back == texts


WRONG: dict[str, tuple[str, ...]] = {
    "slo": ("p95:", "p95:0", "p95:-1", "p95:ten", "p42:100", "100"),
    "load": ("-1", "many", "1e3", "NaN", "Infinity", "99999999999", "1,5"),
    "headroom": ("-1", "96", "100", "a lot", ""),
    "utilisation": ("0", "101", ""),
    "instances": ("0", "1.5", "", "-2"),
    "price": ("nobody's", "ecs.c6.large=0", "ecs.c6.large=-5", "ecs.c6.large=free"),
    "without": ("fast,near,slow",),
}


@pytest.mark.parametrize("field", WRONG)
def test_what_cannot_be_asked_is_said_beside_its_field(
    page: Page, reports: dict[str, Report], field: str
) -> None:
    facts = _data(reports["tie"], "en")["facts"]
    usual = page.evaluate("(facts) => explorer.usual(facts)", facts)
    many = [{**usual, field: text} for text in WRONG[field]]
    found = page.evaluate(
        "([facts, many]) => many.map((texts) => explorer.question(texts, facts).wrong)",
        [facts, many],
    )
    for text, wrong in zip(WRONG[field], found, strict=True):
        own = "own" if field == "price" and "=" in text else field
        assert list(wrong) == [own], text
        word, values = wrong[own]
        for code in LANGUAGES:
            assert SPOKEN[code].say(f"explorer.{word}", **values)
