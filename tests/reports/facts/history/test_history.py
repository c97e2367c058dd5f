"""Histories: what is pooled, what is a trend, which changes are marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cells import changed
from pages import numbered

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.history.history import History
from tiankong.reports.facts.points import Series
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.history import history as section
from tiankong.reports.sections.scaling import scaling as scaling_section
from tiankong.reports.text.language import read_language
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Cell, Run

INT8: Series = ("onnx-int8", "reference")
ARTICLE: Series = ("onnx-fp32", "article")

Make = Callable[..., Run]


def composed(*runs: Run) -> Report:
    return compose(runs, read_article(), read_prices())


@pytest.fixture
def make(make_run: Make, make_cell: Callable[..., Cell]) -> Make:
    """A run of the day ``day`` with repeats of the given latencies at 8 users."""

    def made(day: int, latencies: dict[Series, Sequence[float]], **changes: Any) -> Run:
        cells = [
            cell
            for (variant, stack), values in latencies.items()
            for cell in numbered([make_cell(variant, stack, 8, value) for value in values])
        ]
        begun = {"run": f"day-{day}", "started": f"2026-01-{day:02}T00:00:00+00:00"}
        return make_run({}, tuple(cells), **(begun | changes))

    return made


def told(report: Report) -> History:
    assert report.history
    return report.history


def marks(report: Report, series: Series = INT8) -> list[bool | None]:
    [trend] = [
        trend for trend in told(report).trends if (trend.key.variant, trend.key.stack) == series
    ]
    return [step.qps.real if step.qps else None for step in trend.steps]


def test_the_newest_answers_and_nothing_is_averaged_with_it(make: Make) -> None:
    old = make(1, {INT8: (50.0, 51.0)}, tool="0.1.0")
    new = make(2, {INT8: (40.0, 41.0)}, tool="0.2.0")
    alone = composed(new)
    for order in ((old, new), (new, old)):
        report = composed(*order)
        assert report.points == alone.points
        assert report.answer == alone.answer
        assert report.header.tool == "0.2.0"
        assert [snapshot.header.tool for snapshot in told(report).snapshots] == ["0.1.0", "0.2.0"]


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "0.2.0"},
        {"versions": {"tiankong": "0.1.0", "onnxruntime": "1.31"}},
        {"commit": "abc"},
    ],
)
def test_other_software_on_one_machine_is_a_history(make: Make, change: dict[str, Any]) -> None:
    report = composed(make(1, {INT8: (50.0,)}), make(2, {INT8: (50.0,)}, **change))
    assert len(told(report).snapshots) == 2


def test_other_files_of_a_variant_are_a_history(
    make: Make, make_variant: Callable[..., dict[str, Any]]
) -> None:
    other = make(2, {INT8: (50.0,)}, variants={"onnx-int8": make_variant(5)})
    found = told(composed(make(1, {INT8: (50.0,)}), other)).snapshots[1].differences
    assert [field for field, _, _ in found] == ["variants.onnx-int8.digest"]


@pytest.mark.parametrize("key", ["kernel", "python"])
def test_another_kernel_or_python_is_a_history(make: Make, key: str) -> None:
    machine = {**make(1, {}).header.machine, key: "newer"}
    report = composed(make(1, {INT8: (50.0,)}), make(2, {INT8: (50.0,)}, machine=machine))
    assert [field for field, _, _ in told(report).snapshots[1].differences] == [f"machine.{key}"]


def test_another_machine_is_refused_even_with_other_software(make: Make) -> None:
    machine = {**make(1, {}).header.machine, "cpu": "Another CPU"}
    with pytest.raises(UnusableInputError, match=r"machine\.cpu differs"):
        composed(make(1, {INT8: (50.0,)}), make(2, {INT8: (50.0,)}, machine=machine, tool="2"))


def test_runs_of_which_nothing_differs_are_pooled(make: Make) -> None:
    report = composed(make(1, {INT8: (50.0,)}), make(2, {INT8: (52.0,)}))
    assert report.history is None
    assert [point.repeats for point in report.points] == [2]


def test_runs_of_other_points_are_pooled_whatever_their_commit(make: Make) -> None:
    report = composed(make(1, {INT8: (50.0,)}), make(2, {ARTICLE: (50.0,)}, commit="abc"))
    assert report.history is None
    assert len(report.points) == 2


@pytest.mark.parametrize(
    ("before", "after", "real"),
    [
        ((50.0, 50.5, 51.0), (40.0, 40.5, 41.0), True),
        ((50.0, 55.0, 60.0), (49.0, 54.0, 59.0), False),
        ((50.0,), (20.0,), None),  # without repeats there are no intervals
    ],
)
def test_a_change_is_marked_only_where_the_intervals_say_so(
    make: Make, before: Sequence[float], after: Sequence[float], real: bool | None
) -> None:
    runs = make(1, {INT8: before}), make(2, {INT8: after}, tool="0.2.0")
    assert marks(composed(*runs)) == [None, real]


def test_an_invalid_measurement_shows_no_change(make: Make) -> None:
    old = make(1, {INT8: (50.0, 50.5)})
    new = make(2, {INT8: (20.0, 20.2)}, tool="0.2.0")
    bad = Run(new.header, tuple(changed(cell, wrong=1) for cell in new.cells))
    assert marks(composed(old, bad)) == [None, None]


def test_a_version_that_comes_back_is_an_epoch_of_its_own(make: Make) -> None:
    runs = [
        make(1, {INT8: (50.0, 50.5)}),
        make(2, {INT8: (40.0, 40.4)}, tool="0.2.0"),
        make(3, {INT8: (50.0, 50.5)}),
    ]
    report = composed(*runs)
    assert len(told(report).snapshots) == 3
    assert marks(report) == [None, True, True]
    assert [point.repeats for point in report.points] == [2]


def test_a_newest_run_without_cells_is_refused_by_name(make: Make) -> None:
    with pytest.raises(UnusableInputError, match="'day-2' is the newest, and no cell"):
        composed(make(1, {INT8: (50.0,)}), make(2, {}, tool="0.2.0"))


def test_the_control_tells_when_the_machine_changed(make: Make) -> None:
    old = make(1, {INT8: (50.0, 50.5), ARTICLE: (100.0, 101.0)})
    new = make(2, {INT8: (40.0, 40.4), ARTICLE: (80.0, 80.8)}, tool="0.2.0")
    language = read_language("en")
    shaken = section(composed(old, new), language)
    calm = section(
        composed(old, make(2, {INT8: (40.0, 40.4), ARTICLE: (100.0, 101.0)}, tool="0.2.0")),
        language,
    )
    assert shaken
    assert calm
    assert any("the machine or its libraries changed" in note for note in shaken.notes)
    assert not any("the machine or its libraries changed" in note for note in calm.notes)


@pytest.mark.parametrize("code", ["en", "zh"])
def test_the_section_shows_each_step_with_its_interval(make: Make, code: str) -> None:
    old = make(1, {INT8: (50.0, 50.5)})
    new = make(2, {INT8: (40.0, 40.4)}, tool="0.2.0")
    shown = section(composed(old, new), read_language(code))
    assert shown
    epochs, best = shown.grids
    assert [row[2].text for row in epochs.rows] == ["0.1.0", "0.2.0"]
    assert [row[4].text for row in best.rows] == ["–", "+25.0 %"]
    assert [row[4].tone for row in best.rows] == ["muted", "good"]
    assert [row[6].tone for row in best.rows] == ["muted", "good"]  # less latency is better
    assert all(row[3].note for row in best.rows)
    assert section(composed(new), read_language(code)) is None


Grow = Callable[..., tuple[Cell, ...]]


@pytest.mark.parametrize("code", ["en", "zh"])
def test_growth_measured_with_other_software_stays_and_is_labelled(
    make: Make, make_run: Make, make_scaling: Grow, code: str
) -> None:
    begun = {"run": "day-1", "started": "2026-01-01T00:00:00+00:00", "tool": "0.0.9"}
    grown = make_run({}, make_scaling("onnx-int8"), **begun)
    table = make(2, {INT8: (50.0, 50.5), ARTICLE: (100.0, 101.0)}, tool="0.2.0")
    report, alone, language = composed(grown, table), composed(table), read_language(code)
    assert report.answer == alone.answer
    assert report.every_point == alone.every_point
    assert [axis.name for axis in report.scaling.axes] == ["tokens", "batch", "cores", "users"]
    shown = scaling_section(report, language)
    assert shown
    assert shown.pictures
    label = " ".join(shown.paragraphs)
    assert all(told in label for told in ("day-1", "2026-01-01", "0.0.9", "0.2.0"))
    assert scaling_section(alone, language) is None


def test_the_newest_growth_is_shown_alone(make: Make, make_run: Make, make_scaling: Grow) -> None:
    grown = [
        make_run(
            {}, make_scaling("onnx-int8", factor),
            run=f"day-{day}", started=f"2026-01-{day:02}T00:00:00+00:00", tool=f"0.{day}",
        )
        for day, factor in ((1, 1.0), (2, 2.0))
    ]  # fmt: skip
    newest = composed(grown[1])
    both = composed(*grown)
    assert (both.scaling, both.growth_runs) == (newest.scaling, ())
    after = composed(*grown, make(3, {INT8: (50.0,)}, tool="0.3"))
    assert [run.header.run for run in after.growth_runs] == ["day-2"]
    assert after.scaling == newest.scaling
