"""SVG for a page and for a file: colours as classes, ids of its own, text as text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from tiankong.reports.plots.drawing import Said, canvas, new_axes, svg, write
from tiankong.reports.plots.markup import SVG, document
from tiankong.reports.plots.palette import ACCENTS, INK, PAPER

FIRST = ACCENTS[0]


def drawn(name: str = "sample", text: str = "名字 & <b>") -> str:
    with canvas(200, 120) as figure:
        axes = new_axes(figure, 30, 30, 150, 70)
        axes.plot([1, 2], [1, 2], color=FIRST.light, marker="o", gid="part:line:3")
        axes.fill_between([1, 2], [1, 1], [2, 3], color=FIRST.light, alpha=0.2)
        write(figure, 10, 100, text, bold=True)
        return svg(figure, Said(name, "a <title>", "what is to be seen"))


def elements(markup: str, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(markup).iter(SVG + tag))


def test_text_is_text_without_a_font_of_its_own() -> None:
    (text,) = (e for e in elements(drawn(), "text") if e.text and "名" in e.text)
    assert text.text == "名字 & <b>"
    assert text.get("font-weight") == "700"
    assert text.get("class") == f"f-{INK.name}"
    root = ET.fromstring(drawn())
    assert "Noto Sans CJK SC" in root.get("font-family", "")
    assert root.get("font-family", "").endswith("sans-serif")
    assert "/" not in root.get("font-family", "")


def test_a_name_with_two_dollar_signs_is_no_formula() -> None:
    assert "US$ or A$" in [e.text for e in elements(drawn(text="US$ or A$"), "text")]


def test_a_picture_says_what_is_to_be_seen() -> None:
    root = ET.fromstring(drawn())
    assert root.get("role") == "img"
    assert [element.tag for element in root][:2] == [f"{SVG}title", f"{SVG}desc"]
    own = {element.get("id"): element.text for element in root}
    labels = root.get("aria-labelledby", "").split()
    assert [own[label] for label in labels] == ["a <title>", "what is to be seen"]


def test_two_pictures_share_no_id_and_leave_the_page_alone() -> None:
    ids = [re.findall(r'\bid="([^"]+)"', drawn(name)) for name in ("one", "two")]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for name, own in zip(("one", "two"), ids, strict=True):
        assert all(each.startswith(f"{name}-") for each in own)
        referred = re.findall(r'(?:href="#|url\(#)([^)"]+)', drawn(name))
        assert referred
        assert set(referred) <= set(own)
    assert not elements(drawn(), "style")  # it would hold for the whole page


def test_a_colour_is_a_class_and_an_attribute() -> None:
    (line,) = (e for e in ET.fromstring(drawn()).iter() if e.get("data-part") == "line")
    (path,) = (e for e in line.iter(f"{SVG}path") if e.get("fill") == "none")
    assert path.get("stroke") == FIRST.light
    assert path.get("class") == f"s-{FIRST.name}"
    assert line.get("data-series") == "3"
    assert drawn().count("style=") == 1  # the least width, at the root


def test_a_file_stands_alone_on_light_and_dark_paper() -> None:
    text = document(drawn(), "zh-CN")
    assert text.startswith("<?xml")
    root = ET.fromstring(text)
    assert root.get("lang") == "zh-CN"
    (sheet,) = root.iter(f"{SVG}style")
    assert FIRST.dark in (sheet.text or "")
    (card,) = (e for e in root.iter(f"{SVG}rect") if e.get("width") == "100%")
    assert card.get("fill") == PAPER.light
    plain = document(drawn(), themed=False)
    assert not elements(plain, "style")


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert drawn() == drawn()
