"""Where docs/page.md says that a question is answered there is such a place on the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
MEASURED_IF_ASKED = {"stages", "ceiling"}  # else the page says why: #left-out


@pytest.mark.parametrize("name", ["index.html", "index.zh.html"])
def test_every_place_is_on_the_page(name: str) -> None:
    document = (HOME / "docs" / "page.md").read_text(encoding="utf-8")
    page = (HOME / "reports" / "pages" / name).read_text(encoding="utf-8")
    places = set(re.findall(r"`#([a-z-]+)`", document))
    there = set(re.findall(r'\bid="([a-z-]+)"', page))
    assert len(places) > 10
    assert places - there <= (MEASURED_IF_ASKED if "left-out" in there else {"left-out"})
    assert len(re.findall(r"^\| (?:manager|engineer) \d", document, re.MULTILINE)) == 10


def test_every_line_named_is_a_line_of_the_answer() -> None:
    document = (HOME / "docs" / "page.md").read_text(encoding="utf-8")
    page = (HOME / "reports" / "pages" / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'"([A-Z][^"]+)"', document)
    assert len(named) > 4
    for label in named:
        assert f">{label}" in page, label
