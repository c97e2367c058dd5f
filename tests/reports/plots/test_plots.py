"""Plots: SVG, reproducible byte for byte, every series named and distinct."""

from __future__ import annotations

import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tiankong.reports.facts.costs import MeasuredMachine, yardsticks
from tiankong.reports.facts.points import points
from tiankong.reports.facts.prices import PRICES as PRICE_FILE
from tiankong.reports.facts.prices import Price, read_prices
from tiankong.reports.facts.question import default_price
from tiankong.reports.facts.scaling import scaling
from tiankong.reports.plots.drawing import COLOURS, looks
from tiankong.reports.plots.panels import scaling_plot
from tiankong.reports.plots.plots import _apart, cost_plot, latency_plot
from tiankong.toolkit.runs.run_file import Cell, Run

BENCH = MeasuredMachine(2, "x86_64", None)


def _own(path: Path = PRICE_FILE) -> tuple[Price, ...]:
    prices = read_prices(path)
    return yardsticks(prices, default_price(prices, BENCH))


PRICES = _own()


@pytest.fixture(autouse=True)
def _no_missing_glyph() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


WORDS = "title", "what is to be seen"


def test_the_same_points_give_the_same_bytes(make_run: Callable[..., Run]) -> None:
    measured = points([make_run()], "onnx-fp32", 130.0)
    latency, cost = latency_plot(measured, *WORDS), cost_plot(measured, PRICES, BENCH, *WORDS)
    assert latency == latency_plot(measured, *WORDS)
    assert cost == cost_plot(measured, PRICES, BENCH, *WORDS)
    for text in (latency, cost):
        root = ET.fromstring(text)
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags & {"script", "image", "style"}
        for series in looks(measured).values():
            assert series.name in text


PRICE = """
[sources.own]
title = "发票"
[[price]]
cloud = "{cloud}"
type = "ecs.c6.large"
kind = "quoted"
currency = "CNY"
per_month = 700
vcpu = 2
architecture = "x86_64"
source = "own"
"""


@pytest.mark.parametrize("cloud", ["阿里云", "クラウド", "구름", "☁️云🙂", "云 & <b>", "$名$ 云"])
def test_what_the_font_cannot_draw_is_written_as_text_for_the_readers_fonts(
    make_run: Callable[..., Run], tmp_path: Path, cloud: str
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(PRICE.format(cloud=cloud), encoding="utf-8")
    measured = points([make_run()], "onnx-fp32", 130.0)
    plot = cost_plot(measured, _own(path), BENCH, *WORDS)  # a warning is an error
    texts = [e.text for e in ET.fromstring(plot).iter() if e.tag.endswith("}text")]
    assert f"quoted: CNY 700.00 a month, {cloud} ecs.c6.large" in texts


def test_a_name_with_two_dollar_signs_is_no_formula(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(PRICE.format(cloud="US$ or A$"), encoding="utf-8")
    measured = points([make_run()], "onnx-fp32", 130.0)
    assert "US$ or A$" in cost_plot(measured, _own(path), BENCH, *WORDS)


def test_a_series_keeps_its_look_and_no_two_share_one(make_run: Callable[..., Run]) -> None:
    styles = looks(points([make_run()], "onnx-fp32", 130.0))
    assert len({(look.colour, look.marker) for look in styles.values()}) == len(styles)
    assert len(styles) <= len(COLOURS)


def test_points_without_enough_answers_leave_an_empty_plot_that_says_so(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    measured = points(
        [make_run({}, (make_cell("onnx-int8", "reference", 1, 900),))], "onnx-fp32", 130.0
    )
    assert "enough answers" in latency_plot(measured, *WORDS)
    assert "enough answers" in cost_plot(measured, PRICES, BENCH, *WORDS)


def test_an_infinite_percentile_is_left_out(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("onnx-int8", "reference", 8, 100, failures={"503": 400})
    measured = points(
        [make_run({("onnx-fp32", "reference"): {8: 50}}, (cell,))], "onnx-fp32", 130.0
    )
    assert "onnx-int8" not in cost_plot(measured, PRICES, BENCH, *WORDS)
    ET.fromstring(latency_plot(measured, *WORDS))


def test_no_price_no_panel(make_run: Callable[..., Run]) -> None:
    ET.fromstring(cost_plot(points([make_run()], "onnx-fp32", 130.0), (), BENCH, *WORDS))


def test_the_scaling_plot_has_two_panels_an_axis(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]]
) -> None:
    cells = (*make_scaling("onnx-int8"), *make_scaling("onnx-fp32", 2.0))
    axes = scaling(points([make_run({}, cells)], "onnx-fp32", 130.0)).axes
    text = scaling_plot(axes, *WORDS)
    assert text == scaling_plot(axes, *WORDS)
    root = ET.fromstring(text)
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert not tags & {"script", "image"}
    for label in ("Sentence length (1 user)", "Batch size (1 user, 16 tokens)",
                 "Server cores (4 users, 16 tokens)", "Concurrency (16 tokens)",
                 "onnx-int8 / reference", "onnx-fp32 / reference"):  # fmt: skip
        assert label in text


def test_a_scaling_point_without_answers_leaves_an_empty_panel(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cells = [make_cell("onnx-int8", "reference", 1, 5, tokens=n, latencies_ms=[]) for n in (8, 16)]
    axes = scaling(points([make_run({}, tuple(cells))], "onnx-fp32", 130.0)).axes
    assert "enough answers" in scaling_plot(axes, *WORDS)


def test_labels_are_pushed_apart_in_their_order() -> None:
    heights = [10.0, 50.0, 11.0, 12.0, 55.0]
    moved = _apart(heights, 6.0)
    assert all(after - before >= 6.0 - 1e-9 for before, after in pairwise(sorted(moved)))
    order = sorted(range(5), key=heights.__getitem__)
    assert sorted(range(5), key=moved.__getitem__) == order
