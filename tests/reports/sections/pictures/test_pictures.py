"""Pictures and what is said of them: from the facts, in both languages, or why there is none."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import NO_WISHES, Wishes
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.pictures.pictures import NAMES, growth, pictures
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.reports.text.tables import Section
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

STAGES = {"read": 0.2, "tokenize": 0.5, "queue": 12.0, "engine": 30.0, "rank": 1.0, "write": 0.3}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def reported(*runs: Run, wishes: Wishes = NO_WISHES) -> Report:
    return compose(runs, read_article(), read_prices(), wishes)


def shown(report: Report, code: str = "en") -> dict[str, Section]:
    return {section.id: section for section in pictures(report, read_language(code))}


def texts(markup: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@pytest.fixture
def whole(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    """A run with repeats, stages and ceilings."""
    cells = [
        make_cell(name, "reference", users, mean * drift, repeat=repeat, stages=STAGES)
        for name, means in (("onnx-int8", (16, 50)), ("onnx-fp32", (25, 160)))
        for users, mean in zip((1, 8), means, strict=True)
        for repeat, drift in ((1, 1.0), (2, 1.03))
    ]
    ceilings = {"onnx-int8": {"sentences_per_second": 400.0, "tokens": 17.5}}
    return replace(make_run({}, tuple(cells)), evidence={"ceilings": ceilings})


def test_every_picture_is_there_in_both_languages(
    whole: Run, make_scaling: Callable[..., tuple[Cell, ...]]
) -> None:
    report = reported(replace(whole, cells=(*whole.cells, *make_scaling())))
    for code in LANGUAGES:
        sections = shown(report, code)
        assert "left-out" not in sections
        every = {name: section.pictures[0] for name, section in sections.items()}
        every["scaling"] = growth(report, read_language(code))[0]
        assert set(every) == set(NAMES) - {"trend"}  # which is a history's
        for name, picture in every.items():
            assert picture.file == (f"{name}.svg" if code == "en" else f"{name}.{code}.svg")
            assert picture.alt
            words = " ".join(texts(picture.markup))
            assert bool(CHINESE.search(words)) == (code == "zh"), name
            assert bool(CHINESE.search(picture.alt)) == (code == "zh"), name


def test_what_is_seen_follows_the_answer_and_the_figures(whole: Run) -> None:
    report = reported(whole)
    assert report.answer.point is not None
    assert report.answer.point.users == 8
    sections = shown(report)
    assert sections["cost"].gist.startswith("Chosen: onnx-int8 at 8 users: ¥")
    assert sections["throughput"].gist == (
        "At 8 users onnx-int8 answers 158 requests a second: 3.20 times as many as onnx-fp32."
    )
    assert "P95 from 16.2 ms (1 user) to 50.7 ms (8 users)" in sections["latency"].gist
    assert "at or under 130 ms up to 8 users" in sections["latency"].gist
    tight = shown(reported(whole, wishes=Wishes(slo="p90=40ms")))
    assert "P90 from" in tight["latency"].gist
    assert "up to 1 user" in tight["latency"].gist
    assert "P90 ≤ 40 ms" in " ".join(texts(tight["cost"].pictures[0].markup))


def test_the_rest_of_the_mean_latency_is_outside(whole: Run) -> None:
    section = shown(reported(whole))["stages"]
    drawn = texts(section.pictures[0].markup)
    assert "outside the server" in drawn
    assert "50.8 ms" in drawn  # the median of the means of the repeats
    assert "engine 30 ms (59 %)" in section.gist


def test_what_is_above_its_ceiling_has_none(whole: Run) -> None:
    both = {"onnx-int8": {"sentences_per_second": 400.0, "tokens": 17.5}}
    disturbed = {"sentences_per_second": 1.0, "tokens": 17.5}
    names = sorted({cell.point.variant for cell in whole.cells} - {"onnx-int8"})
    assert names
    run = replace(whole, evidence={"ceilings": {**both, names[0]: disturbed}})
    section = shown(reported(run))["ceiling"]
    assert section.gist == "onnx-int8 reaches 39 % of the ceiling."
    assert f"Left out: {names[0]}" in section.notes[-1]
    run = replace(whole, evidence={"ceilings": {"onnx-int8": disturbed}})
    assert "ceiling" not in shown(reported(run))


def test_a_share_of_the_ceiling(whole: Run) -> None:
    section = shown(reported(whole))["ceiling"]
    assert section.gist == "onnx-int8 reaches 39 % of the ceiling."  # 157.7 of 400
    assert "17.5" in section.notes[0]
    assert "39 % (158 of 400)" in texts(section.pictures[0].markup)


BEST = {
    "sentences_per_second": 400.0, "tokens": 17.5, "giga_operations": {"int8": 2.6, "fp32": 0.009},
    "giga_per_second": {"int8": 880.0, "fp32": 222.0},
    "own_giga_per_second": {"int8": 440.0, "fp32": 180.0},
    "peak_giga_per_second": {"int8": 917.0},
    "library": {"own": "onnxruntime", "int8": "openvino", "fp32": "torch"},
}  # fmt: skip


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_notes_name_the_fastest_kernels_and_what_is_slower(whole: Run, code: str) -> None:
    run = replace(whole, evidence={"ceilings": {"onnx-int8": BEST}})
    notes = shown(reported(run), code)["ceiling"].notes
    assert len(notes) == 3
    for part in ("INT8 880", "openvino", "96 %", "FP32 222", "torch"):
        assert part in notes[1]
    # Its own 8-bit kernel; that of the few operations in FP32 is slower too, and decides nothing.
    for part in ("50 %", "onnxruntime", "onnx-int8"):
        assert part in notes[2]


def test_a_run_made_before_says_that_its_ceiling_is_its_own_engines(whole: Run) -> None:
    assert shown(reported(whole))["ceiling"].notes[1].startswith("Only the kernels of each")
    names = sorted({cell.point.variant for cell in whole.cells} - {"onnx-int8"})
    both = {names[0]: {"sentences_per_second": 400.0, "tokens": 17.5}, "onnx-int8": BEST}
    notes = shown(reported(replace(whole, evidence={"ceilings": both})))["ceiling"].notes
    assert notes[-1].startswith(f"For {names[0]} only the kernels")


def test_a_picture_with_nothing_to_show_is_left_out_and_why_is_said(
    make_run: Callable[..., Run], make_open_cell: Callable[..., Cell]
) -> None:
    sections = shown(reported(make_run({("onnx-int8", "reference"): {8: 37}})))
    assert {"stages", "ceiling", "scaling"}.isdisjoint(sections)
    assert len(sections["left-out"].items) == 3
    assert "no ceiling" in sections["left-out"].items[1]
    alone = shown(reported(make_run({}, (make_open_cell("onnx-int8", 40.0, 20),))))
    assert set(alone) == {"size", "left-out"}
    assert len(alone["left-out"].items) == 7


def test_too_few_answers_leave_a_latency_out(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    sections = shown(reported(make_run({}, (make_cell("onnx-int8", "reference", 1, 3000),))))
    assert {"cost", "latency", "distribution"}.isdisjoint(sections)
    assert "throughput" in sections


def test_an_infinite_percentile_is_left_out(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    cell = make_cell("onnx-int8", "reference", 8, 100, failures={"503": 400})
    run = make_run({("onnx-fp32", "reference"): {8: 50}}, (cell,))
    for section in shown(reported(run)).values():
        for picture in section.pictures:
            assert "inf" not in " ".join(texts(picture.markup))
            assert "nan" not in picture.markup


def test_no_price_no_cost(make_run: Callable[..., Run]) -> None:
    report = compose([make_run()], read_article(), ())
    assert "cost" not in shown(report)
    assert "Cost against latency" in shown(report)["left-out"].items[0]


@pytest.mark.parametrize("name", ["量化-动态", "クラウド", "구름", "☁️🙂", "a & <b>", "$x$ y"])
def test_a_users_own_names_are_text(
    make_run: Callable[..., Run], make_variant: Callable[..., dict[str, Any]], name: str
) -> None:
    run = make_run({(name, "reference"): {1: 20, 8: 90}}, variants={name: make_variant(9_000_000)})
    for section in shown(reported(run)).values():
        for picture in section.pictures:
            assert name in texts(picture.markup)


def test_pictures_are_the_same_twice_and_no_id_is_in_a_page_twice(
    whole: Run, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        write_pages([whole], tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").glob("*.svg"))
    assert "stages.zh.svg" in names
    for name in (*names, "index.html", "index.zh.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a" / "index.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert page.count('class="picture"') == 7
