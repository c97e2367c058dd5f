"""What is taken away from the page (links, JSON, curl lines), two variants, and refusals."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from axe import violations
from served_page import expect, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

api = pytest.importorskip("playwright.sync_api")
DOCUMENT = Path(__file__).parents[3] / "docs" / "server.md"


@pytest.fixture
def server(start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real server with a second variant beside the first."""
    monkeypatch.setenv("FAKE_DELAY", "0")
    monkeypatch.setenv("FAKE_BESIDE", "other")
    started = start_process()
    yield started
    started.process.send_signal(signal.SIGTERM)
    assert started.end()[0] == 0


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(locale="zh-CN")
    yield opened
    opened.close()


def answered(page: Page, blanks: int = 1) -> None:
    """Wait until both variants have answered."""
    api.expect(page.locator(".candidate")).to_have_count(10 * blanks)


def test_an_example_is_answered_on_opening(context: BrowserContext, server: Any) -> None:
    logged: list[str] = []
    context.on("console", lambda message: logged.append(message.text))
    page = visit(context, server.url)
    answered(page)
    assert logged == []
    expect(page, "#models", text=re.compile("变体 fake对照 other"))
    expect(page, "#sentence", text="疑是地")
    api.expect(page.locator("#history-box")).to_be_hidden()
    assert "#" not in page.url


def test_a_link_asks_its_sentence_and_tells_it_to_nobody(
    context: BrowserContext, server: Any
) -> None:
    page = context.new_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    page.goto(f"{server.url}/#text={quote('今天气（ ）好____。')}")
    answered(page, blanks=2)
    assert page.locator("#text").input_value() == "今天气[MASK]好[MASK]。"
    expect(page, "#sentence", text="今天气")
    assert not [url for url in sent if "text=" in url.partition("#")[0] or quote("今") in url]


def test_the_address_is_the_link_and_back_goes_back(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    answered(page)
    for text in ("今天[mask]好", "[MASK]小"):
        page.locator("#text").fill(text)
        page.locator("#ask").click()
        expect(page, "#sentence", text=text[-1])
    answered(page)
    page.go_back()
    expect(page, "#sentence", text="今天")
    assert page.locator("#text").input_value() == "今天[MASK]好"
    page.go_back()
    expect(page, "#sentence", text="疑是地")


def test_a_link_is_copied(context: BrowserContext, server: Any) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit(context, server.url)
    answered(page)
    page.locator("#link").click()
    expect(page, "#link", text="已复制")
    link = page.evaluate("navigator.clipboard.readText()")
    expect(page, "#link", text="复制链接")
    address, _, tail = link.partition("/#")
    assert address == server.url
    answered(visit(context, server.url, f"#{tail}"))


def test_over_plain_http_it_is_copied_too(browser: Browser, server: Any) -> None:
    """Browsers hide their clipboard from pages of other machines over plain http."""
    rules = "--host-resolver-rules=MAP server.test 127.0.0.1"
    started = browser.browser_type.launch(
        executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu", rules]
    )
    try:
        page = visit(started.new_context(locale="en"), f"http://server.test:{server.port}")
        answered(page)
        assert page.evaluate("[isSecureContext, navigator.clipboard ?? null]") == [False, None]
        page.locator("#link").click()
        expect(page, "#link", text="Copied")
        assert page.evaluate("document.activeElement.id") == "link"
        page.locator("#text").fill("")
        page.keyboard.press("Control+v")
        copied = page.locator("#text").input_value()
        assert copied.startswith(f"http://server.test:{server.port}/#text=")
        page.evaluate("document.execCommand = () => false")
        page.locator("#link").click()
        expect(page, "#link", text="Press Ctrl+C")
        assert page.locator("#by-hand").input_value() == copied
        assert page.evaluate("getSelection().toString()") == copied
    finally:
        started.close()


def test_the_curl_lines_get_the_json_that_is_shown(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url, f"#text={quote('它说 好$HOME`id` [MASK]。')}%27%22%5C%0A")
    answered(page)
    page.locator("#code summary").click()
    texts = page.locator("#calls pre").all_inner_texts()
    assert len(texts) == 4
    for line, shown in (texts[:2], texts[2:]):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == json.loads(shown)
    assert json.loads(texts[1])["variant"] == "fake"
    assert json.loads(texts[3])["model_name"] == "other"


def test_two_variants_are_side_by_side(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    answered(page)
    assert page.locator(".variant").all_inner_texts() == ["fake", "other"]
    first, second = (
        page.locator(f".column:nth-child({place}) .token").all_inner_texts() for place in (1, 2)
    )
    assert first != second
    expect(page, ".verdict", text=f"首选不同：fake 填“{first[0]}”，other 填“{second[0]}”。")
    for place, (mine, theirs) in enumerate([(first, second), (second, first)], 1):
        notes = page.locator(f".column:nth-child({place}) .moved").all_inner_texts()
        for rank, (token, note) in enumerate(zip(mine, notes, strict=True)):
            there = theirs.index(token) if token in theirs else -1
            expected = f"另一侧第 {there + 1} 位" if there >= 0 else "另一侧前五没有"
            assert note == ("" if there == rank else expected)
    both = next(token for token in first if token in second)
    page.locator(f".candidate[data-token='{both}']").first.click()
    expect(page, "#sentence mark", text=both)
    api.expect(page.locator("[aria-pressed=true]")).to_have_count(2)
    lines = page.locator("#facts p").all_inner_texts()
    assert [line.partition("，")[0] for line in lines[:2]] == ["fake", "other"]
    assert all("其中服务器用时" in line for line in lines[:2])


@pytest.mark.parametrize("language", ["zh-CN", "en"])
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_side_by_side_fits_and_is_accessible(
    browser: Browser, server: Any, language: str, width: int
) -> None:
    view = {"width": width, "height": 800}
    scheme = "dark" if width in (390, 1280) else "light"
    with browser.new_context(viewport=view, locale=language, color_scheme=scheme) as context:
        page = visit(context, server.url, "#text=[MASK]天[MASK]")
        answered(page, blanks=2)
        page.locator("#code summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        clipped = "buttons => buttons.filter((each) => each.scrollWidth > each.clientWidth).length"
        assert page.locator(".candidate").evaluate_all(clipped) == 0
        assert violations(page) == []


def test_where_the_second_is_refused_the_first_stays(context: BrowserContext, server: Any) -> None:
    page = context.new_page()
    body = {"status": 503, "detail": "the queue is full", "code": "queue_full"}
    page.route(
        "**/infer", lambda route: route.fulfill(status=503, json=body, headers={"Retry-After": "7"})
    )
    page.goto(server.url)
    expect(page, ".column:nth-child(2) .hint", text="等待队列已满，请 7 秒后再试")
    api.expect(page.locator(".candidate")).to_have_count(5)


def test_a_busy_server_says_which_limit(
    browser: Browser, start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DELAY", "4")
    busy = start_process("--streams=1", "--queue-limit=0", "--deadline=1.5")
    with browser.new_context(locale="zh-CN") as context:
        page = visit(context, busy.url)
        api.expect(page.locator(".candidate")).to_have_count(5)
        page.locator("#text").fill("slow[MASK]")
        page.locator("#ask").click()
        expect(page, "#error", text="服务器没有在时限（1.5 秒）内答完")
        page.locator("#text").fill("今[MASK]")
        page.locator("#ask").click()
        expect(page, "#error", text="等待队列已满，请 1 秒后再试")


def test_an_answer_of_a_proxy_is_not_taken_for_the_servers(
    context: BrowserContext, server: Any
) -> None:
    page = context.new_page()
    page.route("**/predict", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.goto(server.url)
    expect(page, "#error", text="收到的不是本服务的回答（HTTP 502）")
    page.unroute("**/predict")
    unknown = {"status": 400, "detail": "something new", "code": "new"}
    page.route("**/predict", lambda route: route.fulfill(status=400, json=unknown))
    page.locator("#ask").click()
    expect(page, "#error", text="服务器拒绝了请求（HTTP 400）：something new")


def test_both_languages_have_a_word_for_every_problem_of_a_sentence(browser: Browser) -> None:
    script = files("tiankong.server.routes").joinpath("page-words.js").read_bytes()
    module = f"data:text/javascript;base64,{b64encode(script).decode()}"
    keys = """async (module) => {
      const { zh, en } = (await import(module)).WORDS;
      return [zh, en, zh.problems, en.problems].map((words) => Object.keys(words));
    }"""
    with browser.new_context() as context:
        zh, en, zh_problems, en_problems = context.new_page().evaluate(keys, module)
    assert zh == en
    assert zh_problems == en_problems
    table = DOCUMENT.read_text("utf-8").partition("| `code` | status |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|[^|]*", table, re.M))))
    assert len(documented) > 10
    not_asked = {"too_many_texts", "unknown_candidate", "unknown_field"}
    assert documented - not_asked <= set(zh_problems)
