"""The explorer on a page: its controls change the answer, the address carries the question."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe import violations
from explored import Kinds

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.question import Wishes
from tiankong.reports.facts.report import compose
from tiankong.reports.sections.answer import sentences
from tiankong.reports.text.language import read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ENGLISH, CHINESE = "index.html", "index.zh.html"


@pytest.fixture(scope="module")
def run(
    make_run: Callable[..., Run], make_cell: Callable[..., object],
    make_open_cell: Callable[..., object], make_variant: Callable[..., dict[str, object]],
    make_gate: Callable[..., dict[str, object]], make_header: Callable[..., object],
) -> Run:  # fmt: skip
    kinds = Kinds(make_run, make_cell, make_open_cell, make_variant, make_gate, make_header)  # type: ignore[arg-type]
    failed = kinds.gate(False)
    return kinds.table(gates={"fast": kinds.gate(), "near": failed, "slow": kinds.gate()})


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages alone, without the pictures and data beside them."""
    whole, alone = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("alone")
    write_pages([run], whole)
    for name in (ENGLISH, CHINESE):
        shutil.copy(whole / name, alone / name)
    return alone


@contextmanager
def opened(browser: Browser, address: str, width: int = 1280, **context: object) -> Iterator[Page]:
    """A page that may not complain: no console message, no error, no request but for itself."""
    made = browser.new_context(viewport={"width": width, "height": 844}, **context)  # type: ignore[arg-type]
    page = made.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto(address)
    yield page
    assert complaints == []
    made.close()


def card(page: Page) -> list[str]:
    lines = page.locator("#answer-lines dd").all_text_contents()
    return [page.locator("#answer-headline").inner_text(), *lines]


def expected(run: Run, wishes: Wishes, code: str = "en") -> list[str]:
    report = compose([run], read_article(), read_prices(), wishes)
    return sentences(report, read_language(code))


@pytest.mark.parametrize(("name", "code"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_every_control_changes_the_answer_and_the_address(
    browser: Browser, folder: Path, run: Run, name: str, code: str
) -> None:
    with opened(browser, (folder / name).as_uri()) as page:
        assert card(page) == expected(run, Wishes(), code)
        page.fill("#explorer-load", "300")
        page.select_option("#explorer-rank", "99")
        page.fill("#explorer-limit", "90.5")
        page.fill("#explorer-headroom", "12.5")
        page.fill("#explorer-utilisation", "25")
        page.fill("#explorer-instances", "4")
        page.select_option("#explorer-price", "c6i.large")
        wishes = Wishes("p99=90.5ms", 300.0, 0.125, 0.25, 4, "c6i.large")
        assert card(page) == expected(run, wishes, code)
        page.fill("#explorer-own", "99.95")
        wishes = Wishes("p99=90.5ms", 300.0, 0.125, 0.25, 4, "c6i.large=99.95")
        assert card(page) == expected(run, wishes, code)
        assert page.url.split("#")[1] == (
            "slo=p99:90.5&load=300&headroom=12.5&utilisation=25&instances=4&price=c6i.large=99.95"
        )
        assert page.inner_text("#explorer-command") == (
            "tiankong report 20260101-test.jsonl --slo p99=90.5ms --load 300 --headroom 12.5%"
            " --utilisation 25% --instances 4 --price c6i.large=99.95"
        )
        page.uncheck("[value=fast]")
        assert "slow" in card(page)[0]
        assert "fast" not in page.locator("#explorer-table").inner_text()
        assert "slow" in page.locator("#answer-command").inner_text()
        page.click("#explorer-form [type=reset]")
        assert card(page) == expected(run, Wishes(), code)
        assert "#" not in page.url


def test_a_link_shows_its_question_in_both_languages(
    browser: Browser, folder: Path, run: Run
) -> None:
    address = (folder / ENGLISH).as_uri() + "#slo=p50:20&load=50&price=ecs.c6.large/second-hand"
    wishes = Wishes("p50=20ms", 50.0, price="ecs.c6.large/second-hand")
    with opened(browser, address) as page:
        assert card(page) == expected(run, wishes)
        assert page.input_value("#explorer-limit") == "20"
        page.click("header .language a")
        assert card(page) == expected(run, wishes, "zh")


def test_back_and_forward_walk_through_the_questions(
    browser: Browser, folder: Path, run: Run
) -> None:
    with opened(browser, (folder / ENGLISH).as_uri()) as page:
        page.fill("#explorer-load", "300")
        page.press("#explorer-load", "Tab")
        page.fill("#explorer-instances", "9")
        page.press("#explorer-instances", "Tab")
        page.go_back()
        assert card(page) == expected(run, Wishes(load=300.0))
        assert page.input_value("#explorer-instances") == "1"
        page.go_back()
        assert card(page) == expected(run, Wishes())
        page.go_forward()
        assert card(page) == expected(run, Wishes(load=300.0))


def test_a_link_to_a_place_goes_there_and_keeps_the_question(
    browser: Browser, folder: Path, run: Run
) -> None:
    with opened(browser, (folder / ENGLISH).as_uri() + "#variants") as page:
        assert card(page) == expected(run, Wishes())
        assert page.locator("#variants").evaluate("part => part.open")
        assert page.evaluate("scrollY") > 0
        page.fill("#explorer-load", "300")
        page.locator("#evidence nav a").nth(2).click()
        assert card(page) == expected(run, Wishes(load=300.0))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("load", "-3"), ("limit", ""), ("headroom", "96"), ("utilisation", "0"),
        ("instances", "1.5"), ("own", "free"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_and_changes_nothing(
    browser: Browser, folder: Path, run: Run, field: str, text: str
) -> None:
    with opened(browser, (folder / ENGLISH).as_uri() + "#load=50") as page:
        page.fill(f"#explorer-{field}", text)
        assert page.locator(f"#explorer-{field}-wrong").inner_text()
        assert page.locator(f"#explorer-{field}").get_attribute("aria-invalid") == "true"
        assert card(page) == expected(run, Wishes(load=50.0))
        assert page.url.endswith("#load=50")
        page.click("#explorer-form [type=reset]")
        assert page.locator("[aria-invalid]").count() == 0


COMPUTED = (
    "#answer-headline", "#answer-lines", "#answer-command", "#explorer-plot", "#explorer-command",
    "#explorer-table tbody th >> nth=0",
)  # fmt: skip


@pytest.mark.parametrize(("name", "code"), [(ENGLISH, "en"), (CHINESE, "zh")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_answer_to_an_earlier_question_is_marked_until_the_next(
    browser: Browser, folder: Path, name: str, code: str, scheme: str
) -> None:
    def inks() -> list[str]:
        script = "(part) => getComputedStyle(part).color"
        return [page.locator(place).evaluate(script) for place in COMPUTED]

    with opened(browser, (folder / name).as_uri(), color_scheme=scheme) as page:
        notes = page.locator("#answer-stale, #explorer-stale")
        usual, told = inks(), read_language(code).say("explorer.stale")
        assert notes.all_inner_texts() == ["", ""]
        page.fill("#explorer-headroom", "150")
        assert page.get_by_role("status").filter(has_text=told).is_visible()
        assert notes.all_inner_texts() == [told, told]
        assert not set(inks()) & set(usual)
        assert [line for line in violations(page) if "explor" in line or "answer" in line] == []
        page.fill("#explorer-headroom", "15")
        assert notes.all_inner_texts() == ["", ""]
        assert inks() == usual


@pytest.mark.parametrize("place", ["#load=%", "#slo=nonsense&load=5", "#price=nobody", "#=", "#&&"])
def test_a_broken_link_says_so_or_shows_the_pages_own_question(
    browser: Browser, folder: Path, run: Run, place: str
) -> None:
    with opened(browser, (folder / ENGLISH).as_uri() + place) as page:
        assert card(page) == expected(run, Wishes())
        wrong = page.locator(".wrong").all_text_contents()
        assert any(wrong) == ("load=" in place or "price=" in place)
        assert page.locator("#explorer-plot svg").count() == 1


def test_the_picture_has_the_levels_and_its_names_touch_nothing(
    browser: Browser, folder: Path
) -> None:
    for width in (390, 1280):
        with opened(browser, (folder / ENGLISH).as_uri(), width) as page:
            assert page.locator("#explorer-plot .dot").count() == 12
            assert page.locator("#explorer-plot .chosen").count() == 1
            assert page.evaluate(TOUCHING) == []
            page.locator("#explorer-plot .dot").nth(2).focus()
            assert "P95" in page.locator("#explorer-point").inner_text()
            page.select_option("#explorer-show", "month")
            assert page.locator("#explorer-plot .dot").count() == 12


# Names of series whose box meets another text or a foreign line, sampled pixel by pixel.
TOUCHING = """() => {
  const svg = document.querySelector("#explorer-plot svg");
  const texts = [...svg.querySelectorAll("text")];
  const names = texts.filter((text) => text.classList.contains("name"));
  const lines = [...svg.querySelectorAll("polyline, .limit, .front")];
  const meets = (a, b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const found = [];
  for (const name of names) {
    const box = name.getBoundingClientRect();
    for (const other of texts) {
      if (other === name) continue;
      if (meets(box, other.getBoundingClientRect())) found.push(other.textContent);
    }
    const frame = svg.getBoundingClientRect();
    for (const line of lines) {
      const length = line.getTotalLength();
      for (let at = 0; at <= length; at += 1) {
        const { x, y } = line.getPointAtLength(at);
        const [left, top] = [x + frame.left, y + frame.top];
        if (left > box.left && left < box.right && top > box.top + 2 && top < box.bottom - 2) {
          found.push(`${name.textContent} meets ${line.getAttribute("class")}`);
          break;
        }
      }
    }
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_anyone_can_use_it(browser: Browser, folder: Path, scheme: str, width: int) -> None:
    name = ENGLISH if scheme == "light" else CHINESE
    address = (folder / name).as_uri() + "#load=300&instances=0"
    with opened(browser, address, width, color_scheme=scheme) as page:
        assert [line for line in violations(page) if "explor" in line or "answer" in line] == []
        fits = "() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert page.evaluate(fits)


@pytest.mark.parametrize("width", [320, 390, 768, 960, 1280])
def test_the_whole_table_is_in_view_and_each_figure_has_its_name(
    browser: Browser, folder: Path, width: int
) -> None:
    for name, rank in ((ENGLISH, "P99, ms"), (CHINESE, "P99（毫秒）")):
        with opened(browser, (folder / name).as_uri() + "#slo=p99:90", width) as page:
            table = page.get_by_role("table").and_(page.locator("#explorer-table table"))
            hidden = "(box) => box.scrollWidth - box.clientWidth"
            assert page.locator("#explorer-table").evaluate(hidden) == 0
            assert table.get_by_role("rowheader").count() == 3
            assert table.get_by_role("cell").count() == 21
            labels = "(cells) => cells.map((cell) => cell.dataset.label)"
            heads = table.locator("thead th").all_text_contents()
            assert table.locator("tbody tr:first-child > *").evaluate_all(labels) == heads
            assert heads[6] == rank
            shown = table.locator("tbody td:nth-child(7)").first.evaluate(
                "(cell) => getComputedStyle(cell, '::before').content"
            )
            assert shown == ("none" if width > 960 else f'"{rank}"')


def test_paper_has_the_table_and_no_controls(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / ENGLISH).as_uri()) as page:
        page.emulate_media(media="print")
        assert page.locator("#explorer-table tbody tr").first.is_visible()
        assert not page.locator("#explorer-form").is_visible()


def test_without_a_script_the_table_stands(browser: Browser, folder: Path) -> None:
    with opened(browser, (folder / ENGLISH).as_uri(), java_script_enabled=False) as page:
        rows = page.locator("#explorer-table tbody tr")
        assert rows.count() == 3
        assert not page.locator("#explorer-form").is_visible()
        assert page.locator("#explore noscript p").is_visible()
