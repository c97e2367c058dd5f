"""Contrast in a real page: each line, marker and text of each picture, light, dark and printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Bands are left out (the line and the whiskers carry what they show), and text inside bars (it has
# the colour of the paper, so its contrast is the bar's).
_LOW = """
() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((value) => value / 255)
      .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = getComputedStyle(document.body).backgroundColor;
  const ratio = (colour) => {
    const [high, low] = [light(colour), light(paper)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const low = [];
  let count = 0;
  for (const element of document.querySelectorAll('svg.picture :is(path, use, text, rect)')) {
    const part = element.closest('[data-part]')?.dataset.part;
    if (element.closest('defs, clipPath') || part === 'band' || part === 'inside') continue;
    const style = getComputedStyle(element);
    const isText = element.tagName === 'text';
    const both = [style.fill, isText ? 'none' : style.stroke];
    const inks = both.filter((ink) => ink.startsWith('rgb'));
    const best = Math.max(0, ...inks.map(ratio));  // a marker's rim has the colour of the paper
    if (inks.length) count += 1;
    if (inks.length && best < (isText ? 4.5 : 3)) low.push(`${element.outerHTML} ${inks} ${best}`);
  }
  return { low, count, paper };
}
"""


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    make_scaling: Callable[..., tuple[Cell, ...]],
) -> Path:
    pages = tmp_path_factory.mktemp("contrast")
    stages = {"read": 1.0, "tokenize": 2.0, "queue": 9.0, "engine": 20.0, "rank": 2.0, "write": 1.0}
    more = [
        make_cell("onnx-int8", "reference", 8, 51, repeat=repeat, stages=stages)
        for repeat in (2, 3)
    ]
    write_pages([make_run(cells=(*more, *make_scaling()))], pages)
    return pages


@pytest.mark.parametrize(
    ("media", "scheme"), [("screen", "light"), ("screen", "dark"), ("print", "dark")]
)
def test_every_ink_is_seen(browser: Browser, folder: Path, media: Any, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.emulate_media(media=media, color_scheme=scheme)
    page.goto((folder / "index.html").as_uri())
    page.evaluate("() => document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    found = page.evaluate(_LOW)
    assert found["count"] > 200
    assert found["low"] == []
    is_dark = sum(map(int, found["paper"].strip("rgb()").split(","))) < 384
    assert is_dark == (media == "screen" and scheme == "dark")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_file_has_paper_of_its_own(browser: Browser, folder: Path, scheme: Any) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto((folder / "latency.svg").as_uri())
    colours = page.evaluate(
        "() => ['rect.f-paper', 'text.f-ink'].map("
        "(which) => getComputedStyle(document.querySelector(which)).fill)"
    )
    assert len(set(colours)) == 2
    assert (colours[0] == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()
