"""No figure and no sentence of a page contradicts another: held over made-up runs of any kind."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.points import MeasuredPoint
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.page import page
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.reports.text.tables import Page, Section, Table
from tiankong.toolkit.runs.run_file import Cell, Run

pytestmark = pytest.mark.usefixtures("quick_plots")

VARIANTS = ("pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8")
Make = Callable[[int], Report]


@pytest.fixture
def make(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_open_cell: Callable[..., Cell],
    make_scaling: Callable[..., tuple[Cell, ...]],
) -> Make:
    """Reports of runs that a number determines: speeds, repeats, failures, doubts at random."""

    def report(seed: int) -> Report:
        dice = random.Random(seed)
        cells = list(plain_cells(dice, make_cell))
        for rate in dice.sample([10.0, 40.0, 80.0], dice.randint(0, 2)):
            cells.append(make_open_cell("onnx-int8", rate, dice.uniform(5, 300)))
        if dice.random() < 0.3 or not cells:
            cells += make_scaling()
        return compose([make_run({}, tuple(cells))], read_article(), read_prices())

    return report


def plain_cells(dice: random.Random, make_cell: Callable[..., Cell]) -> Iterator[Cell]:
    repeats = dice.choice([1, 1, 2, 3, 5])
    for name in dice.sample(VARIANTS, dice.randint(1, 4)):
        for server in dice.sample(["reference", "article"], dice.randint(1, 2)):
            base = dice.uniform(3, 300)
            for users in dice.sample([1, 2, 4, 8, 16], dice.randint(1, 5)):
                for repeat in range(1, repeats + 1):
                    if dice.random() < 0.95:  # else this run was cut here
                        latency = base * max(1, users / 2) * dice.lognormvariate(0, 0.3)
                        changes = {"repeat": repeat, **some_damage(dice, users, latency)}
                        yield make_cell(name, server, users, latency, **changes)


def some_damage(dice: random.Random, users: int, latency: float) -> dict[str, object]:
    count = min(4000, round(users * 20_000 / latency))
    spread = dice.choice([0.0, 0.2, 0.8])
    taken = [latency * dice.lognormvariate(0, spread) for _ in range(count)]
    changes: dict[str, object] = {"latencies_ms": taken}
    if dice.random() < 0.1:
        changes["wrong"] = dice.randint(1, 3)
    if dice.random() < 0.1:
        changes["failures"] = {"503": dice.randint(1, 50)}
    if dice.random() < 0.1:
        changes["steal_percent"] = 9.0
    return changes


def test_figures_of_a_point_agree(make: Make) -> None:
    seen: dict[str, int] = {"pooled": 0, "in time": 0, "interval": 0}
    for seed in range(60):
        for point in make(seed).every_point:
            assert 0 <= point.goodput <= point.qps.value, seed
            known = [value for value in percentiles(point) if value is not None]
            assert known == sorted(known), seed
            for name in ("qps", "p50_ms", "p90_ms", "p95_ms", "p99_ms"):
                figure = getattr(point, name)
                if figure is not None and figure.ends is not None:
                    assert figure.low <= figure.value <= figure.high, seed
                    seen["interval"] += 1
                elif figure is not None and point.repeats > 1:
                    seen["pooled"] += 1
            seen["in time"] += 0 < point.goodput < point.qps.value
    assert all(count > 50 for count in seen.values()), seen  # each case did happen


def percentiles(point: MeasuredPoint) -> list[float | None]:
    found = (point.p50_ms, point.p90_ms, point.p95_ms, point.p99_ms)
    return [figure and figure.value for figure in found]


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("seed", range(12))
def test_the_page_agrees_with_itself(make: Make, code: str, seed: int) -> None:
    report = make(seed)
    shown = page(report, read_language(code))
    sections = {section.id: section for section in shown.sections}
    words = shown.language.words
    printed_figures_agree(sections)
    if report.points:
        measured = sections["measured"]
        best, every = measured.grids
        assert len(every.rows) == len(report.points)
        assert {row[0].text for row in best.rows} == {row[0].text for row in every.rows}
        marked = sum(row[0].tone == "bad" for row in every.rows)
        badges = sum(row[0].badge is not None for row in every.rows)
        series, points, cells, valid, invalid, doubtful = numbers(measured.gist)
        assert (series, points) == (len(best.rows), len(every.rows))
        assert (invalid, doubtful) == (marked, badges)
        assert cells == sum(point.repeats for point in report.points)
        assert valid == sum(point.valid_repeats for point in report.points)
        # “No interval” is said if and only if the table has none.
        none = words["measured"]["single"] in measured.notes
        column = every.columns.index(words["column"]["qps"])
        assert none == (not any(row[column].note for row in every.rows))
        # Every row of the best points that is said to keep the objective has a P95 within it.
        kept = best.columns.index(words["column"]["kept"])
        p95 = best.columns.index(words["column"]["p95"])
        for row in best.rows:
            if row[kept].text == words["cell"]["yes"]:
                assert float(row[p95].text) <= report.question.limit_ms * 1.005
    every_badge_leads_to_as_many_warnings(report, shown, sections["warnings"])


def printed_figures_agree(sections: dict[str, Section]) -> None:
    """The same figure is the same text wherever a table shows it."""
    if "measured" not in sections:
        return
    best, every = sections["measured"].grids
    rows = {
        (row[0].text, row[0].note, row[1].text): dict(columns(every, row)) for row in every.rows
    }
    for row in best.rows:
        whole = rows[row[0].text, row[0].note, row[1].text]
        for name, text in columns(best, row):
            assert whole.get(name, text) == text


def columns(table: Table, row: tuple[object, ...]) -> list[tuple[str, str]]:
    return [(name, str(entry)) for name, entry in zip(table.columns, row, strict=True)]


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def every_badge_leads_to_as_many_warnings(report: Report, shown: Page, warnings: Section) -> None:
    told = {grid.place: numbers(grid.caption)[-1] for grid in warnings.grids}
    assert numbers(warnings.gist)[0] == sum(told.values())
    assert sum(told.values()) == sum(len(point.doubts) for point in report.every_point)
    entries = [row[0] for part in shown.sections for grid in part.grids for row in grid.rows]
    badges = [entry.badge for entry in entries if entry.badge is not None]
    assert all(1 <= numbers(badge.text)[0] <= told[badge.place] for badge in badges)
    assert {badge.place for badge in badges} == set(told)
