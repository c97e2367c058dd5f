"""Markup: what matplotlib writes as SVG, made fit for a page and for a file of its own.

In both a colour is a class (palette.py) beside an attribute, which programs without style sheets
read.  Ids are unique in a page, and only those stay that something refers to.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from .palette import COLOURS, PAPER, dark_style

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
PART = "part:"  # begins the id of what a reader may look for: "part:label:3"
LEAST_SCALE = 0.94  # in a page: below it letters could not be read, so the picture scrolls
FONTS = (
    "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'PingFang SC', 'Microsoft YaHei',"
    " 'Noto Sans CJK SC', 'Noto Sans SC', 'Source Han Sans SC', 'WenQuanYi Micro Hei', SimHei,"
    " sans-serif"
)
"""Fonts of the reader's machine, among them those with Chinese characters; the first is taken."""
NAMES: Mapping[str, str] = {colour.light: colour.name for colour in COLOURS}
DROPPED = {"metadata", "style"}  # matplotlib's style sheet would hold for the whole page
USUAL = {"fill-opacity": "1", "stroke-opacity": "1", "font-weight": "400", "stroke-width": "1"}
REFERENCES = re.compile(r"url\(#([^)]+)\)")


def inline(drawn: str, name: str, title: str, description: str) -> str:
    """Return a drawing as an SVG element for a page.

    ``name`` begins its ids; ``title`` and ``description`` say to a reader who cannot see it what
    it is and what is to be seen.
    """
    root = ET.fromstring(drawn)
    _clean(root)
    _rename(root, name)
    width, height = root.get("viewBox", "").split()[2:]
    root.attrib.clear()
    root.attrib |= {
        "xmlns": SVG[1:-1],
        "class": "picture",
        "viewBox": f"0 0 {width} {height}",
        "width": width,
        "height": height,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-seen",
        "font-family": FONTS,
        "stroke-linejoin": "round",
        "style": f"min-width:{float(width) * LEAST_SCALE:.0f}px",
    }
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(tag, {"id": f"{name}-{'title' if tag == 'title' else 'seen'}"})
        element.text = text
        root.insert(place, element)
    return ET.tostring(root, encoding="unicode")


def document(markup: str, tag: str = "en", *, themed: bool = True) -> str:
    """Return an SVG element as the text of a file in the language ``tag``.

    It is drawn on a card of paper, dark where the reader's system is (unless not ``themed``).
    """
    head, body = markup.split("</desc>", 1)
    head = head.replace("<svg ", f'<svg lang="{tag}" ', 1)
    style = f"<style>{dark_style(markup)}</style>" if themed else ""
    card = f'<rect width="100%" height="100%" class="f-{PAPER.name}" fill="{PAPER.light}"/>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}</desc>{style}{card}{body}\n'


def _clean(parent: ET.Element) -> None:
    """Remove namespaces, comments, styles and empty groups below an element."""
    parent.tag = parent.tag.removeprefix(SVG)
    parent.text = parent.text if parent.tag == "text" else None
    children: list[ET.Element] = []
    for child in parent:
        if child.tag.removeprefix(SVG) in DROPPED:
            continue
        _clean(child)
        child.tail = None
        _as_attributes(child)
        if child.tag in ("g", "defs") and not len(child):
            continue
        plain = child.tag == "g" and not child.attrib.keys() - {"id"}
        if plain and not child.get("id", "").startswith(PART):
            children += child
        else:
            children.append(child)
    parent[:] = children


def _as_attributes(element: ET.Element) -> None:
    """Write an element's style as attributes, and each colour of the palette as a class too."""
    style = element.attrib.pop("style", "")
    if LINK in element.attrib:
        element.set("href", element.attrib.pop(LINK))
    for declaration in filter(None, style.split(";")):
        key, value = (part.strip() for part in declaration.split(":", 1))
        if USUAL.get(key) != value and key not in ("stroke-linecap", "stroke-linejoin"):
            element.set(key, value)
    classes = [
        f"{key[0]}-{NAMES[value]}"
        for key in ("fill", "stroke")
        if (value := element.get(key, "")) in NAMES
    ]
    if classes:
        element.set("class", " ".join(classes))


def _rename(root: ET.Element, name: str) -> None:
    """Give every id that is referred to one that begins with ``name``; remove the others."""
    new = {old: f"{name}-{place}" for place, old in enumerate(dict.fromkeys(_referred(root)), 1)}
    for element in root.iter():
        own = element.attrib.pop("id", "")
        if own in new:
            element.set("id", new[own])
        elif own.startswith(PART):
            part, _, series = own.removeprefix(PART).partition(":")
            element.attrib |= {"data-part": part} | ({"data-series": series} if series else {})
        for key, value in element.items():
            if key == "href":
                element.set(key, f"#{new[value[1:]]}")
            elif "url(#" in value:
                element.set(key, REFERENCES.sub(lambda found: f"url(#{new[found[1]]})", value))


def _referred(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for key, value in element.items():
            if key == "href":
                yield value[1:]
            else:
                yield from REFERENCES.findall(value)
