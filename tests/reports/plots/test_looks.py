"""Looks: one name and one colour a variant, few that stand out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.facts.standing import MOST, standing
from tiankong.reports.plots.looks import fewer, looks
from tiankong.reports.plots.palette import SOFT
from tiankong.reports.text.language import read_language
from tiankong.toolkit.runs.run_file import Run

ENGLISH = read_language("en")


def reported(*runs: Run) -> Report:
    return compose(runs, read_article(), read_prices())


def many(count: int) -> dict[tuple[str, str], dict[int, float]]:
    """Latencies of many variants behind two servers."""
    return {
        (f"variant-{number:02}", stack): {users: 10.0 * users + number for users in (1, 4)}
        for number in range(count)
        for stack in ("reference", "ray")
    }


def test_a_variant_has_one_colour_behind_every_server(make_run: Callable[..., Run]) -> None:
    report = reported(make_run())
    styles = looks(report, standing(report), ENGLISH)
    colours: dict[str, set[str]] = {}
    for (variant, _), look in styles.items():
        colours.setdefault(variant, set()).add(look.colour.name)
    assert all(len(own) == 1 for own in colours.values())
    assert len({look.name for look in styles.values()}) == len(styles)
    assert styles["onnx-fp32", "article"].dashes
    assert not styles["onnx-fp32", "reference"].dashes


def test_the_chosen_one_the_reference_and_a_rival_stand_out(make_run: Callable[..., Run]) -> None:
    report = reported(make_run())
    shown = standing(report)
    assert shown.variants[0] == "onnx-int8"
    assert shown.baseline == "onnx-fp32"
    assert {"onnx-int8", "onnx-fp32"} <= set(shown.variants)
    assert len(shown.variants) <= MOST
    styles = looks(report, shown, ENGLISH)
    for (variant, _), look in styles.items():
        assert (look.colour is SOFT) == (variant not in shown.variants)
        assert not look.stands_out or variant in shown.variants
    assert {series for series, look in styles.items() if look.stands_out} == set(shown.series)


def test_a_look_does_not_depend_on_what_else_a_picture_shows(make_run: Callable[..., Run]) -> None:
    report = reported(make_run())
    fewer_points = replace(report, points=report.points[:4])
    shown = standing(report)
    every, some = (looks(one, shown, ENGLISH) for one in (report, fewer_points))
    for series, look in some.items():
        assert every[series].colour is look.colour
        assert every[series].name == look.name


def test_of_too_many_series_each_variants_fastest_is_drawn(make_run: Callable[..., Run]) -> None:
    report = reported(make_run(many(16)))
    styles = looks(report, standing(report), ENGLISH)
    drawn, rest = fewer(report.points, styles, 24)
    assert len(drawn) <= 24
    assert len(drawn) + rest == 32
    assert {variant for variant, _ in drawn} == {f"variant-{n:02}" for n in range(16)}
    all_drawn, none = fewer(report.points, styles, 32)
    assert (len(all_drawn), none) == (32, 0)
