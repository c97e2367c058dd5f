"""The web page of a real server process, used in a real browser."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe import violations
from served_page import expect, visit
from starlette.testclient import TestClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

api = pytest.importorskip("playwright.sync_api")
KEY = "key-for-the-page-0123"


@pytest.fixture
def server(start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("FAKE_DELAY", "0")
    started = start_process()
    yield started
    started.process.send_signal(signal.SIGTERM)
    assert started.end()[0] == 0


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(locale="zh-CN")
    yield opened
    opened.close()


def test_a_sentence_is_filled_in(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    page.locator("#text").fill("今天气很上。")
    page.evaluate("document.getElementById('text').setSelectionRange(4, 5)")
    page.locator("#mask").click()
    assert page.locator("#text").input_value() == "今天气很[MASK]。"
    page.locator("#ask").click()
    expect(page, "#sentence", text="今天气很")
    expect(page, "#facts", text=re.compile(r"fake，往返 [\d.]+ 毫秒，其中服务器用时 [\d.]+ 毫秒"))
    api.expect(page.locator(".candidate")).to_have_count(5)
    shares = page.locator(".share").all_inner_texts()
    assert all(re.fullmatch(r"\d+\.\d\d %", share) for share in shares)
    widths = [box["width"] for bar in page.locator(".bar i").all() if (box := bar.bounding_box())]
    assert len(widths) == 5
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > widths[-1]
    best = page.locator(".token").first.inner_text()
    expect(page, "#sentence mark", text=best)
    second = page.locator(".candidate").nth(1)
    second.click()
    assert second.get_attribute("aria-pressed") == "true"
    expect(page, "#sentence mark", text=page.locator(".token").nth(1).inner_text())


def test_several_masks_have_a_list_each(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    page.locator("#text").fill("[MASK]天[MASK]")
    page.locator("#ask").click()
    api.expect(page.locator(".mask")).to_have_count(2)
    api.expect(page.locator(".mask h2").nth(1)).to_have_text("第 2 空")
    api.expect(page.locator("#sentence mark")).to_have_count(2)


def test_the_keyboard_alone_suffices(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    assert page.evaluate("document.activeElement.id") == "text"
    page.keyboard.insert_text("今天")
    page.keyboard.press("Alt+m")
    page.keyboard.press("Enter")
    expect(page, "#sentence", text="今天")
    page.keyboard.press("Shift+Enter")
    assert page.locator("#text").input_value() == "今天[MASK]\n"
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.className || document.activeElement.id"))
        if seen[-1] == "candidate":
            break
    assert seen[:2] == ["mask", "main"]
    assert seen[-1] == "candidate"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page, "#sentence mark", text=page.locator(".token").nth(1).inner_text())


def test_examples_and_history(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    api.expect(page.locator("#history-box")).to_be_hidden()
    examples = page.locator("#examples button")
    assert [label.split("\n")[0] for label in examples.all_inner_texts()] == [
        "诗词",
        "成语",
        "日常",
    ]
    for index in range(3):
        examples.nth(index).click()
        api.expect(page.locator("#history li")).to_have_count(index + 1)
    examples.nth(0).click()  # asked again: it moves to the top and is not listed twice
    api.expect(page.locator("#history li").first).to_contain_text("床前明月光")
    api.expect(page.locator("#history li")).to_have_count(3)
    page.reload()
    api.expect(page.locator("#history li")).to_have_count(3)
    page.locator("#history button").nth(1).click()
    api.expect(page.locator(".candidate")).to_have_count(5)
    page.locator("#forget").click()
    api.expect(page.locator("#history-box")).to_be_hidden()
    page.reload()
    expect(page, "#facts", text="往返")  # the example is answered
    api.expect(page.locator("#history-box")).to_be_hidden()


def test_two_languages(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    expect(page, "#ask", text="填空")
    page.locator("#examples button").first.click()
    page.locator("#language").click()
    expect(page, "#ask", text="Fill in")
    expect(page, "#facts", text="there and back")
    assert page.locator("html").get_attribute("lang") == "en"
    page.reload()
    expect(page, "#ask", text="Fill in")


def test_the_browser_says_which_language(browser: Browser, server: Any) -> None:
    with browser.new_context(locale="de-DE") as context:
        expect(visit(context, server.url), "#ask", text="Fill in")


def test_what_goes_wrong_is_said(context: BrowserContext, server: Any) -> None:
    page = visit(context, server.url)
    page.locator("#text").fill("<b>今天</b>")
    page.locator("#ask").click()
    expect(page, "#error", text="句子里没有 [MASK]")
    page.locator("#text").fill("[MASK]" * 9)
    page.locator("#ask").click()
    expect(page, "#error", text="[MASK] 太多了：句子里有 9 个，最多 8 个")
    page.locator("#language").click()
    expect(page, "#error", text="the sentence has 9, the limit is 8")
    page.locator("#language").click()
    page.locator("#text").fill("天" * 600 + "[MASK]")
    page.locator("#ask").click()
    expect(page, "#error", text="有 603 个词元，上限是 512 个")
    page.locator("#text").fill("天" * 30000 + "[MASK]")
    page.locator("#ask").click()
    expect(page, "#error", text="超过了 65536 字节的上限")
    page.locator("#text").fill("<i>[MASK]</i>")
    page.locator("#ask").click()
    expect(page, "#sentence", text="<i>")
    api.expect(page.locator("#error")).to_be_hidden()
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(20)
    page.locator("#ask").click()
    expect(page, "#error", text="服务器没有回应")


def test_a_key_is_asked_for(
    context: BrowserContext,
    start_process: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0")
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    logged: list[str] = []
    context.on("console", lambda message: logged.append(message.text))
    page = visit(context, start_process(f"--api-key-file={keys}").url)
    expect(page, "#key")
    assert logged == []
    api.expect(page.locator("#error")).to_be_hidden()
    api.expect(page.locator("#key")).to_be_focused()
    page.locator("#examples button").first.click()
    expect(page, "#error", text="要求 API 密钥")
    page.keyboard.insert_text("another-key-0123456")
    page.keyboard.press("Enter")
    expect(page, "#error", text="不认这个 API 密钥")
    page.locator("#key").fill(KEY)
    page.keyboard.press("Enter")
    api.expect(page.locator(".candidate")).to_have_count(5)
    api.expect(page.locator("#models")).to_contain_text("fake")
    page.locator("#code summary").click()
    expect(page, "#calls .call:first-child pre", text="-H 'Authorization: Bearer YOUR_API_KEY'")
    assert KEY not in page.locator("#calls").inner_text()
    assert KEY not in page.url
    assert KEY not in page.evaluate("JSON.stringify(localStorage)")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone(browser: Browser, server: Any, dark: bool) -> None:
    view = {"width": 320, "height": 640}
    scheme = "dark" if dark else "light"
    with browser.new_context(viewport=view, color_scheme=scheme, has_touch=True) as context:
        page = visit(context, server.url)
        page.locator("#text").fill("[MASK]" + "天" * 100 + "a" * 80 + "[MASK]")
        page.locator("#ask").tap()
        api.expect(page.locator(".candidate")).to_have_count(10)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        for button in page.locator("button:visible").all():
            box = button.bounding_box()
            assert box
            assert box["height"] >= 44, button.inner_text()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_it_is_accessible(browser: Browser, server: Any, dark: bool, language: str) -> None:
    scheme = "dark" if dark else "light"
    with browser.new_context(color_scheme=scheme, locale=language) as context:
        page = visit(context, server.url, "#text=[MASK]天[MASK]")
        api.expect(page.locator(".candidate")).to_have_count(10)
        page.locator("#code summary").click()
        assert violations(page) == []
        page.locator("#text").fill("今天")
        page.locator("#ask").click()
        expect(page, "#error")
        assert violations(page) == []


def test_its_files_are_its_own(client: TestClient) -> None:
    for path, kind in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/page.json", "application/json"),
        ("/page-words.js", "text/javascript"),
        ("/page-text.js", "text/javascript"),
    ]:
        response = client.get(path)
        assert response.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "http://" not in response.text
        assert "https://" not in response.text
