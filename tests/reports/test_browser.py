"""The pages in a real browser: no requests elsewhere, no console messages, readable on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
) -> Path:
    pages = tmp_path_factory.mktemp("pages")
    write_pages([make_run(cells=(make_cell("onnx-int8", "article", 8, 60, wrong=2),))], pages)
    return pages


@pytest.fixture(scope="module")
def wide_folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., Run],
    make_open_cell: Callable[..., Cell],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_cell: Callable[..., Cell],
) -> Path:
    """A page with every section, every column and intervals."""
    pages = tmp_path_factory.mktemp("wide")
    cells = [make_open_cell("onnx-int8", rate, 20) for rate in (20.0, 40.0)]
    cells += make_scaling()
    full = {"repeat": 2, "server_quota_percent": 90.0, "joules": 1234.5}
    cells += [make_cell("onnx-int8", "reference", 8, 52, **full)]
    write_pages([make_run(cells=tuple(cells))], pages)
    return pages


@pytest.mark.parametrize("name", ["index.html", "index.zh.html"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_section_and_column_fits(
    browser: Browser, wide_folder: Path, name: str, width: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto((wide_folder / name).as_uri())
    assert page.locator("h2").count() == 13
    assert page.locator("#measured thead th").count() == 18
    assert page.locator("#open tbody tr").count() == 2
    assert page.locator("#scaling table").count() == 4
    assert page.evaluate(
        "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    )
    assert page.locator("svg.picture").count() == 3
    # The table is wider than a phone: its container scrolls, the variant column stays in view.
    if width == 390:
        page.evaluate("() => { document.querySelector('#measured .scroll').scrollLeft = 500 }")
        box = page.locator("#measured tbody th").first.bounding_box()
        assert box is not None
        assert 0 <= box["x"] < 40
    page.close()


@pytest.mark.parametrize(
    ("name", "other", "scheme"),
    [("index.html", "index.zh.html", "light"), ("index.zh.html", "index.html", "dark")],
)
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_opens_clean_and_fits(
    browser: Browser,
    folder: Path,
    name: str,
    other: str,
    scheme: str,
    width: int,
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((folder / name).as_uri())

    assert complaints == []
    home = folder.as_uri()
    assert [url for url in requests if not url.startswith((home, "data:"))] == []
    assert page.locator("h1").count() == 1
    assert page.locator("h2").count() == 11
    assert page.locator("#measured tbody tr").count() == 21
    assert page.locator("#measured thead th").count() == 16
    root = page.evaluate(
        "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert root[0] <= root[1]
    assert page.locator("svg.picture").count() == 2

    page.click("header .language a")
    assert page.url.endswith(other)
    context.close()
