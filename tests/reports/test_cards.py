"""Decision cards: every status in both languages, and nothing beyond its box."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from answers import report_of

from tiankong.reports.facts.report import Report
from tiankong.reports.forms import card_svg
from tiankong.reports.plots import fonts
from tiankong.reports.plots.card import EDGE, card_png, lay_out
from tiankong.reports.sections.decision import decision
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SHOWN = ("decided", "tie", "undecided", "nothing-holds", "nothing", "none", "searched", "long")
BOXES = """() => [...document.querySelectorAll("text")].map(text => {
    const box = text.getBBox();
    return [box.x, box.y, box.x + box.width, box.y + box.height];
})"""
PNG_SIZE = slice(16, 24)  # of a PNG's first chunk: width and height


def test_the_reports_have_every_status(every: dict[str, Report]) -> None:
    assert {name: every[name].answer.status for name in SHOWN[:5]} == {n: n for n in SHOWN[:5]}


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_stands_beyond_its_box(
    browser: Browser, every: dict[str, Report], tmp_path: Path, name: str, code: str
) -> None:
    shown = decision(every[name], read_language(code))
    layout = lay_out(shown)
    (tmp_path / "card.svg").write_text(card_svg(shown), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "card.svg").as_uri())
    boxes = page.evaluate(BOXES)
    page.close()
    assert len(boxes) == len(layout.pieces) > 4
    for (left, top, right, bottom), piece in zip(boxes, layout.pieces, strict=True):
        assert left >= EDGE - 1, piece
        assert right <= layout.width - EDGE + 1, piece
        assert top >= 0, piece
        assert bottom <= layout.height - EDGE / 2, piece
    for place, (left, top, right, bottom) in enumerate(boxes):
        for x0, y0, x1, y1 in boxes[:place]:
            beside = right <= x0 or x1 <= left
            # Boxes reach above and below the letters: a third of the lower line's may be shared.
            assert beside or top >= y1 - (y1 - y0) / 3 or bottom <= y0 + (y1 - y0) / 3


def test_a_card_says_what_was_decided(every: dict[str, Report]) -> None:
    shown = decision(every["decided"], read_language("en"))
    assert shown.choice == "3 × onnx-int8"  # 8 / 50 ms = 160/s; x 0.7 = 112/s each; 300/s
    assert shown.terms[0] == "¥2,100 a month (¥2,100–4,200)"
    assert shown.terms[2] == "for 300 requests/s at P95 ≤ 130 ms"
    assert dict(shown.rows)["Runner-up"].startswith("5 × onnx-fp16, ¥3,500 a month")
    assert shown.footer == "tiankong 0.1.0, measured 2026-01-01"
    assert "Why" not in dict(shown.rows)


@pytest.mark.parametrize(
    ("name", "choice", "why"),
    [
        ("tie", "1 × onnx-int8 or onnx-fp16", None),
        ("undecided", "Not decided", "each point was measured once"),
        ("nothing-holds", "No variant keeps P99 ≤ 2.5 ms", None),
        ("nothing", "No variant can be recommended", "onnx-int8 failed the gate"),
        ("none", "No answer", "no closed-loop point"),
    ],
)
def test_a_card_says_why_not(
    every: dict[str, Report], name: str, choice: str, why: str | None
) -> None:
    shown = decision(every[name], read_language("en"))
    assert shown.choice == choice
    assert (shown.badge == "nothing to decide from") == (name == "none")
    assert (why or "") in dict(shown.rows).get("Why", "")
    assert ("Why" in dict(shown.rows)) == (why is not None)


def test_a_search_alone_makes_a_card(every: dict[str, Report]) -> None:
    shown = decision(every["searched"], read_language("en"))
    assert shown.choice == "1 × onnx-int8"
    assert "confirmed by a capacity search in 3 runs" in dict(shown.rows)["How sure"]


def test_a_png_is_the_card_and_the_same_bytes_twice(every: dict[str, Report]) -> None:
    shown = decision(every["tie"], read_language("en"))
    picture, again = card_png(shown), card_png(shown)
    assert picture is not None
    assert picture == again
    layout = lay_out(shown)
    assert struct.unpack(">II", picture[PNG_SIZE]) == (layout.width * 2, layout.height * 2)


def test_without_a_font_for_chinese_its_png_is_left_out_with_a_line(
    every: dict[str, Report],
    make_run: Callable[..., Run],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fonts, "_chinese", lambda: iter(()))
    (tmp_path / "card.zh.png").write_bytes(b"of another run")
    written = {path.name for path in write_pages([make_run()], tmp_path)}
    assert {"card.svg", "card.zh.svg", "card.png"} <= written
    assert not (tmp_path / "card.zh.png").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert "card.zh.png" in line
    assert "answer.zh.pdf" in line
    assert "fonts-noto-cjk" in line


def test_users_words_are_shown_as_they_are(make_run: Callable[..., Run]) -> None:
    model = {"name": "m", "title": '<b>&"模型" $x$', "parameters": 1}
    shown = decision(report_of(make_run(model=model)), read_language("en"))
    text = card_svg(shown)
    assert "&lt;b&gt;&amp;" in text
    assert card_png(decision(report_of(make_run(model={**model, "title": "<b>$x$"})),
                             read_language("en")))  # fmt: skip
