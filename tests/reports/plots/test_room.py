"""No label lies on a line, a marker or another label: measured in a browser, with its fonts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from drawn import touches

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.printing import TEMPLATES
from tiankong.reports.sections.pictures.pictures import growth, pictures
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.toolkit.runs.run_file import Run, read_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = Path(__file__).parents[3] / "reports" / "pages"
NAMES = (
    "pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-fp16-naive", "onnx-int8", "onnx-int8-dynamic",
    "onnx-int4", "openvino-bf16", "openvino-int8", "量化-动态-八位",
    "ours-pruned-to-half-the-heads",
    "distilled", "per-tensor", "openvino-int4", "i", "WWWWWWWW",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


def drawn(report: Report, code: str) -> list[tuple[str, str]]:
    language = read_language(code)
    every = [picture for section in pictures(report, language) for picture in section.pictures]
    return [(picture.file, picture.markup) for picture in (*every, *growth(report, language))]


def check(page: Page, report: Report, code: str) -> set[str]:
    """Assert that nothing touches; return the names of the pictures looked at."""
    files = drawn(report, code)
    page.set_content("".join(f"<figure>{markup}</figure>" for _, markup in files))
    for number, (file, _) in enumerate(files):
        found = touches(page, number)
        assert found["touched"] == [], file
        assert found["texts"] > 4, file
        assert found["marks"] > 3, file
    return {file.split(".")[0] for file, _ in files}


@pytest.mark.parametrize("code", LANGUAGES)
def test_in_the_committed_runs(page: Page, code: str) -> None:
    runs = [read_run(PAGES / name) for name in ("run.jsonl", "scaling.jsonl")]
    report = compose(runs, read_article(), read_prices())
    assert {"cost", "latency", "throughput", "size", "scaling"} <= check(page, report, code)


def spread(rng: random.Random, mean: float, answers: int) -> list[float]:
    """Lognormal latencies of this mean."""
    drawn = [rng.lognormvariate(0, 0.3) for _ in range(answers)]
    scale = mean * answers / sum(drawn)
    return [scale * each for each in drawn]


def crowded(
    make_run: Callable[..., Run], make_cell: Callable[..., Any], variants: int, seed: int
) -> Run:
    """A run of many variants, some of one speed, some levels measured twice."""
    rng = random.Random(seed)
    cells = []
    for number, name in enumerate(NAMES[:variants]):
        speed = rng.choice((20.0, 20.5, rng.uniform(8, 60)))
        levels = (1, 4, 8, 16)[: rng.randint(2, 4)] if number > 2 else (1, 4, 8, 16)
        for stack in ("reference", *(("article",) if name == "onnx-fp32" else ())):
            for users in levels:
                for repeat in (1, 2):
                    mean = speed * max(1.0, users * 0.5) * rng.uniform(0.93, 1.07)
                    stages = dict.fromkeys(("read", "tokenize", "queue", "engine"), mean / 5)
                    cells.append(
                        make_cell(
                            name, stack, users, mean, repeat=repeat,
                            latencies_ms=spread(rng, mean, round(users * 20_000 / mean)),
                            stages={} if stack == "article" else stages,
                        )
                    )  # fmt: skip
    header_variants = {name: make_run().header.variants["onnx-int8"] for name in NAMES[:variants]}
    return make_run({}, tuple(cells), variants=header_variants)


@pytest.mark.parametrize(("variants", "seed"), [(2, 1), (5, 2), (9, 3), (16, 4), (16, 5), (16, 6)])
def test_in_made_up_runs(
    page: Page,
    make_run: Callable[..., Run],
    make_cell: Callable[..., Any],
    variants: int,
    seed: int,
) -> None:
    run = crowded(make_run, make_cell, variants, seed)
    report = compose([run], read_article(), read_prices())
    seen = check(page, report, LANGUAGES[seed % 2])
    assert {"cost", "latency", "throughput", "distribution", "stages", "size"} <= seen


def test_where_many_levels_lie_close_together(page: Page, make_run: Callable[..., Run]) -> None:
    levels = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 1000)
    speeds = {("onnx-int8", "reference"): {users: 8.0 * users for users in levels}}
    report = compose([make_run(speeds)], read_article(), read_prices())
    assert {"cost", "latency", "throughput"} <= check(page, report, "en")


def test_letters_are_large_enough_on_a_phone(
    browser: Browser, make_run: Callable[..., Run], make_cell: Callable[..., Any]
) -> None:
    run = crowded(make_run, make_cell, 16, 7)
    long = {"a-variant-with-a-name-that-is-longer-than-anyone-would-like": {1: 20, 8: 90}}
    speeds = {(name, "reference"): levels for name, levels in long.items()}
    for one in (run, make_run(speeds)):
        page = browser.new_page(viewport={"width": 390, "height": 844})
        files = drawn(compose([one], read_article(), read_prices()), "en")
        sheet = (TEMPLATES / "style.css").read_text(encoding="utf-8")
        figures = "".join(f"<figure>{markup}</figure>" for _, markup in files)
        page.set_content(f"<meta name=viewport content='width=device-width'><style>{sheet}</style>"
                         f"<main>{figures}</main>")  # fmt: skip
        sizes = page.evaluate(
            "() => [...document.querySelectorAll('svg text')].map("
            "(text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"
        )
        assert min(sizes) >= 10
        wide = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(wide)
        page.close()


def test_a_label_on_a_line_is_found(page: Page) -> None:
    page.set_content(
        '<svg class="picture" viewBox="0 0 100 100" width="100" height="100">'
        '<g data-part="line" data-series="1"><path d="M 0 50 L 100 50" stroke="#000"/></g>'
        '<g data-part="label" data-series="2"><text x="20" y="54" font-size="12">name</text></g>'
        '<text x="60" y="90" font-size="12">one</text><text x="65" y="92" font-size="12">two</text>'
        '<text x="80" y="20" font-size="12">too long</text></svg>'
    )
    assert sorted(touches(page)["touched"]) == [
        "name (2): on line 1", "one: on two", "too long: outside"
    ]  # fmt: skip
