"""The server's page in a browser: opened so that an error, or a request elsewhere, is a failure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


def visit(context: BrowserContext, url: str, tail: str = "") -> Page:
    """Open the page of the server at ``url``, with ``tail`` behind its address."""
    page = context.new_page()
    page.set_default_timeout(10_000)

    def refuse(message: object) -> None:
        raise AssertionError(message)

    page.on("pageerror", refuse)
    page.on("request", lambda sent: sent.url.startswith((url, "data:")) or refuse(sent.url))
    page.goto(f"{url}/{tail}")
    return page


def expect(page: Page, selector: str, *, text: str | re.Pattern[str] | None = None) -> None:
    """Wait until an element is visible, with this text in it."""
    api = pytest.importorskip("playwright.sync_api")
    located = api.expect(page.locator(selector))
    located.to_be_visible()
    if text is not None:
        located.to_contain_text(text)
