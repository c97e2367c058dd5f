"""The pages in a real browser: no request leaves them, every control works, readable anywhere."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe import violations

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Header, Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("index.html", "index.zh.html")
WIDTHS = (390, 768, 1280)
SIDEWAYS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
OPEN_EVERYTHING = "() => document.querySelectorAll('details').forEach((part) => part.open = true)"


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., Run],
    make_open_cell: Callable[..., Cell],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_cell: Callable[..., Cell],
    make_variant: Callable[..., Any],
    make_gate: Callable[..., Any],
) -> Path:
    """A page with every section, every column, intervals, warnings, flips, an invalid point."""
    pages = tmp_path_factory.mktemp("pages")
    cells = [make_open_cell("onnx-int8", rate, 20) for rate in (20.0, 40.0)]
    cells += make_scaling()
    full = {"repeat": 2, "server_quota_percent": 90.0, "joules": 1234.5}
    cells += [make_cell("onnx-int8", "reference", 8, 52, **full)]
    cells += [make_cell("onnx-int8", "article", 8, 60, wrong=2)]
    cells += [make_cell("onnx-int8", "article", 1, 900)]
    flip = {
        "id": "p001", "text": "地[MASK]霜", "answer": "上", "reference": "上", "variant": "下",
        "reference_top5": [["上", 0.6], ["下", 0.3], ["中", 0.05], ["里", 0.02], ["面", 0.01]],
        "variant_top5": [["下", 0.5], ["上", 0.4], ["中", 0.05], ["里", 0.02], ["面", 0.01]],
    }  # fmt: skip
    rates = {"poem": {"items": 200, "hit_at_1": 0.9, "hit_at_5": 0.95, "top1_agreement": 0.98}}
    names = make_run().header.variants
    gate = make_gate(flipped=[flip], categories=rates, divergence=0.001, worst_divergence=0.02)
    variants = {**names, "onnx-int8": make_variant(119_000_000, gate=gate)}
    write_pages([make_run(cells=tuple(cells), variants=variants)], pages)
    return pages


@contextmanager
def opened(browser: Browser, address: str, width: int = 1280, **context: Any) -> Iterator[Page]:
    """A page that must neither complain nor ask for anything outside its own folder."""
    context = {"viewport": {"width": width, "height": 844}, **context}
    started = browser.new_context(**context)
    page = started.new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    assert complaints == []
    home = address.rsplit("/", 1)[0]
    assert [url for url in requests if not url.startswith((home, "data:"))] == []
    started.close()


@pytest.mark.parametrize("name", PAGES)
def test_every_section_is_there_and_every_picture_is_drawn(
    browser: Browser, folder: Path, name: str
) -> None:
    with opened(browser, (folder / name).as_uri()) as page:
        assert page.locator("h1").count() == 1
        assert page.locator("#answer h2").is_visible()
        sections = page.locator("details.part")
        headings = page.locator("nav li").all_inner_texts()
        assert page.locator("nav p").count() == 4
        assert sections.count() == len(headings) >= 11
        assert page.locator("details.part > summary h3").all_inner_texts() == headings
        assert all(gist.strip() for gist in page.locator("summary .gist").all_inner_texts())
        assert page.locator("summary .gist").count() == sections.count()
        assert page.locator("#measured .scroll").first.locator("tbody tr").count() == 6
        assert page.locator("#measured .more tbody tr").count() == 22
        assert page.locator("#measured .more thead th").count() == 17
        assert page.locator("#open tbody tr").count() == 2
        assert page.locator("#scaling table").count() == 4
        assert page.locator("#gate .ranks mark").all_text_contents() == ["上", "上"]
        assert page.locator("#article tbody tr").count() == 28
        assert page.locator("svg.picture").count() == 6


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anyone_from_reading_it(
    browser: Browser, folder: Path, name: str, scheme: str
) -> None:
    with opened(browser, (folder / name).as_uri(), color_scheme=scheme) as page:
        assert violations(page) == []
        page.evaluate(OPEN_EVERYTHING)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_timeout(100)
            assert violations(page) == [], width


def test_what_axe_finds_is_seen(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content("<p style='color:#ccc;background:#fff'>pale</p>")
    assert any(line.startswith("color-contrast: p:") for line in violations(page))
    page.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_off_the_screen(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, (folder / name).as_uri()) as page:
        page.evaluate(OPEN_EVERYTHING)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            assert not page.evaluate(SIDEWAYS), width
        wide = page.locator(".scroll").evaluate_all(
            "(boxes) => boxes.filter((box) => box.scrollWidth > box.clientWidth).length"
        )
        assert wide == 0  # at 1280 no table scrolls sideways either


def test_heads_stay_in_view(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / "index.html").as_uri()) as page:
        page.evaluate(OPEN_EVERYTHING)
        last = page.locator("#measured .more tbody tr").last
        last.evaluate("(row) => row.scrollIntoView({block: 'end'})")
        head = page.locator("#measured .more thead th").first
        assert 0 <= _box(head)["y"] < 40 < _box(last)["y"]

        # On a phone the table scrolls by itself: head and first column stay.
        page.set_viewport_size({"width": 390, "height": 844})
        box = page.locator("#measured .more .scroll")
        box.evaluate("(box) => { box.scrollIntoView(); box.scrollTop = 400; box.scrollLeft = 500 }")
        assert 0 <= _box(head)["y"] - _box(box)["y"] < 5
        for cell in (head, page.locator("#measured .more tbody th").first):
            assert 0 <= _box(cell)["x"] < 40


def _box(locator: Any) -> Any:
    box = locator.bounding_box()
    assert box is not None
    return box


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere_in_view(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, (folder / name).as_uri()) as page:
        links = page.locator("a[href^='#']").evaluate_all("(all) => all.map((a) => a.hash)")
        assert len(links) > 12
        for link in dict.fromkeys(links):
            page.evaluate(
                "() => document.querySelectorAll('details').forEach((part) => part.open = false)"
            )
            page.evaluate("(link) => { location.hash = ''; location.hash = link }", link)
            page.wait_for_function(
                "(link) => document.getElementById(decodeURIComponent(link.slice(1)))"
                "?.checkVisibility({contentVisibilityAuto: true})",
                arg=link,
            )
        for target in page.locator("a:not([href^='#'])").evaluate_all(
            "(all) => all.map((a) => a.getAttribute('href'))"
        ):
            assert (folder / target).is_file(), target
        page.click("header .language a")
        assert page.url.endswith(next(other for other in PAGES if other != name))


def test_an_address_with_a_place_opens_it(browser: Browser, folder: Path) -> None:
    address = (folder / "index.html").as_uri() + "#warnings.onnx-int8.article"
    with opened(browser, address) as page:
        assert page.locator("#warnings table").get_by_text("2 wrong answers").is_visible()
        assert not page.locator("#costs table").first.is_visible()


def test_a_badge_leads_from_a_row_to_its_warnings(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / "index.html").as_uri() + "#measured") as page:
        badge = page.locator("#measured .badge").filter(has_text="1 warning").first
        assert badge.get_attribute("title")
        badge.click()
        warned = page.locator("#warnings details[open]")
        warned.locator("tbody tr").first.wait_for()  # the address changes after the click
        assert warned.count() == 1
        badge.click()  # the address stays the same, and still the place is shown
        assert warned.locator("tbody tr").first.is_visible()


def test_tables_are_sorted_by_mouse_and_by_keyboard(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / "index.html").as_uri()) as page:
        page.evaluate(OPEN_EVERYTHING)
        table = page.locator("#measured .more table")

        def column(place: int) -> list[str]:
            cells = table.locator(f"tbody tr > :nth-child({place})")
            texts: list[str] = cells.evaluate_all("(all) => all.map((c) => c.firstChild.data)")
            return texts

        head = table.locator("thead th").filter(has_text="P95 ms")
        place = table.locator("thead th").all_inner_texts().index(head.inner_text()) + 1
        assert head.get_attribute("aria-sort") is None
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        known = [float(text) for text in column(place) if text != "too few"]
        assert known == sorted(known)
        assert column(place)[-1] == "too few"

        head.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        known = [float(text) for text in column(place) if text != "too few"]
        assert known == sorted(known, reverse=True)
        assert column(place)[-1] == "too few"  # what has no value is last in either order

        table.locator("thead th").first.get_by_role("button").press("Enter")
        assert head.get_attribute("aria-sort") is None
        assert column(1) == sorted(column(1))


@pytest.mark.parametrize("name", PAGES)
def test_amounts_of_money_are_sorted_as_numbers(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, (folder / name).as_uri() + "#100%") as page:
        table = page.locator("#explorer-table table")
        head = table.locator("thead th").filter(has_text=re.compile("^(A month|每月)"))
        place = table.locator("thead th").all_inner_texts().index(head.inner_text()) + 1
        head.get_by_role("button").click()
        texts = table.locator(f"tbody tr > :nth-child({place})").evaluate_all(
            "(all) => all.map((cell) => cell.firstChild.data)"
        )
        figures = [re.sub(r"[^\d.]", "", text) for text in texts]
        amounts = [float(figure) for figure in figures if figure]
        assert max(amounts) >= 1000 > min(amounts)  # with and without a comma
        assert amounts == sorted(amounts)


@pytest.mark.parametrize("name", PAGES)
def test_one_button_opens_and_closes_everything(browser: Browser, folder: Path, name: str) -> None:
    with opened(browser, (folder / name).as_uri()) as page:
        parts, button = page.locator("details.part"), page.locator("#open-all")
        assert page.locator("details.part[open]").count() == 0
        name_closed = button.inner_text()
        button.click()
        assert page.locator("details.part[open]").count() == parts.count()
        assert button.inner_text() != name_closed
        button.click()
        assert page.locator("details.part[open]").count() == 0


def test_without_scripts_everything_can_be_reached(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / "index.html").as_uri(), java_script_enabled=False) as page:
        assert page.locator("#open-all").is_hidden()
        assert page.locator("#answer-headline").is_visible()
        for part in page.locator("details.part").all():
            part.locator("summary").first.click()
            for inner in part.locator("details").all():
                inner.locator("summary").click()
        shown = page.locator("table")
        assert all(table.is_visible() for table in shown.all())
        assert page.locator("th button").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_paper_shows_everything(browser: Browser, folder: Path, scripts: bool) -> None:
    address = (folder / "index.html").as_uri()
    with opened(browser, address, java_script_enabled=scripts) as page:
        expected = page.locator("tr > :last-child").all_text_contents()
        assert len(expected) > 100
        pypdf = pytest.importorskip("pypdf")
        paper = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
        sheet = paper.pages[0].mediabox
        assert sheet.width > sheet.height
        printed = _letters("".join(sheet.extract_text() for sheet in paper.pages))
        for text in expected:
            assert _letters(text) in printed, text
        # The sheet's width without its margins, in CSS pixels: nothing may be cut off there.
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 1046, "height": 740})
        assert (
            page.locator("table").evaluate_all(
                "(all) => Math.max(...all.map((table) => table.getBoundingClientRect().right))"
            )
            <= 1046
        )
        assert page.locator("details:not([open])").count() == page.locator("details").count()


def _letters(text: str) -> str:
    """Return a text without spaces and ligatures, which print differently."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def test_a_history_can_be_read_too(
    browser: Browser, repeated: Run, make_header: Callable[..., Header], tmp_path: Path
) -> None:
    begun = {"run": "newer", "started": "2026-02-01T00:00:00+00:00", "tool": "0.2.0"}
    write_pages([repeated, Run(make_header(**begun), repeated.cells)], tmp_path)
    for name in PAGES:
        with opened(browser, (tmp_path / name).as_uri()) as page:
            page.evaluate(OPEN_EVERYTHING)
            assert page.locator("#history table").count() == 2
            assert violations(page) == []
