"""Accessibility checks: the rules of axe-core, run on an open page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

# All rules of axe-core except level AAA, which a whole site can rarely meet (WCAG 2.2, 5.2).
TAGS = (
    "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice", "experimental",
)  # fmt: skip


def violations(page: Page) -> list[str]:
    """Return what axe-core finds on a page as it is now, a line for each rule and element."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    options = {"resultTypes": ["violations"], "runOnly": {"type": "tag", "values": list(TAGS)}}
    found: list[dict[str, Any]] = axe.Axe().run(page, options=options).response["violations"]
    return [
        f"{rule['id']}: {' '.join(str(part) for part in node['target'])}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]
