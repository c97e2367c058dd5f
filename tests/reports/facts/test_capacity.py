"""Capacity: from a finished search for the same objective, else from the levels of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.capacity import searched
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import Wishes
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.answer import card
from tiankong.reports.text.language import read_language
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Cell, Run

PLAN = {"name": "capacity", "slo": "p95=100ms", "mode": "open"}


@pytest.fixture
def search(make_run: Callable[..., Run], make_open_cell: Callable[..., Cell]) -> Callable[..., Run]:
    """A search that found 90 requests a second: 120 failed, 100 was not confirmed."""

    def made(plan: dict[str, Any] = PLAN, ended: bool = True) -> Run:
        probes = [
            make_open_cell("onnx-int8", rate, latency, stage="probe")
            for rate, latency in ((80.0, 40.0), (120.0, 300.0), (100.0, 90.0))
        ]
        tried = [
            make_open_cell("onnx-int8", rate, latency, stage="confirmation", repeat=repeat)
            for rate, latency in ((100.0, 140.0), (90.0, 60.0))
            for repeat in (1, 2, 3)
        ]
        run = make_run({}, (*probes, *tried), run="search", plan=plan)
        return replace(run, is_ended=ended)

    return made


def reported(*runs: Run, slo: str = "p95=100ms") -> Report:
    return compose(runs, read_article(), read_prices(), Wishes(slo=slo))


def test_the_last_confirmed_load_is_the_capacity(search: Callable[..., Run]) -> None:
    (found,) = searched([search()])
    assert (found.series, found.rank, found.limit_ms, found.rate) == (
        ("onnx-int8", "reference"),
        95,
        100.0,
        90.0,
    )
    assert found.qps.value == pytest.approx(90.0)
    assert found.qps.high == 100.0  # the lowest rate above that did not hold
    assert found.repeats == 3


def test_a_search_answers_the_question_it_was_asked(
    search: Callable[..., Run], make_run: Callable[..., Run]
) -> None:
    report = reported(make_run(), search())
    leading = report.answer.leading
    assert leading is not None
    assert leading.capacity is not None
    assert leading.capacity.search is not None
    assert leading.capacity.qps.value == pytest.approx(90.0)
    sure = card(report, read_language("en")).lines[0].text
    assert "A capacity search confirmed 90.0 requests/s" in sure
    assert "random arrivals" in sure
    other = reported(make_run(), search(), slo="p95=101ms").answer.leading
    assert other is not None
    assert other.capacity is not None
    assert other.capacity.search is None  # the search was for 100 ms


def test_a_search_alone_is_a_report(search: Callable[..., Run]) -> None:
    report = reported(search())
    assert report.points == ()
    assert report.answer.status == "decided"
    assert "1 instance of onnx-int8" in card(report, read_language("en")).headline


def test_a_search_that_is_not_finished_or_of_another_kind_is_refused(
    search: Callable[..., Run],
) -> None:
    with pytest.raises(UnusableInputError, match="interrupted: run it to its end"):
        searched([search(ended=False)])
    with pytest.raises(UnusableInputError, match="a report takes sweeps"):
        searched([search({**PLAN, "name": "tune"})])


def test_an_invalid_confirmation_confirms_nothing(search: Callable[..., Run]) -> None:
    run = search()
    *rest, last = run.cells
    assert searched([replace(run, cells=(*rest, replace(last, wrong=1)))]) == ()
