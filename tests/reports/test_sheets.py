"""Sheets: the answer on one page of A4, nothing beyond its edge, text that can be searched."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tiankong.reports.facts.report import Report
from tiankong.reports.plots.fonts import lettered_canvas
from tiankong.reports.plots.sheet import EDGE, HEIGHT, WIDTH, lay_out_sheet, sheet_pdf
from tiankong.reports.plots.small_cost import SmallCost
from tiankong.reports.plots.typesetting import text_width
from tiankong.reports.sections.sheet import candidates, sheet, small_cost
from tiankong.reports.text.language import LANGUAGES, read_language

SHOWN = ("decided", "tie", "undecided", "nothing-holds", "nothing", "none", "searched", "long")


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("name", SHOWN)
def test_nothing_stands_beyond_the_edge(every: dict[str, Report], name: str, code: str) -> None:
    shown = sheet(every[name], read_language(code))
    for has_picture in (False, True):
        layout = lay_out_sheet(shown, has_picture=has_picture)
        for piece in layout.pieces:
            width = text_width(piece.text, piece.size, bold=piece.bold, mono=piece.mono)
            left = piece.x - width if piece.anchor == "end" else piece.x
            assert left >= EDGE - 1, piece
            assert left + width <= WIDTH - EDGE + 1, piece
            assert piece.y <= HEIGHT - EDGE + 1, piece
        low = EDGE + layout.card.height * layout.scale
        assert all(piece.y > low for piece in layout.pieces)
        if has_picture:
            top, height = layout.picture
            assert top >= low
            assert height >= 100
            assert not any(top < piece.y <= top + height for piece in layout.pieces)


def test_a_sheet_is_one_page_of_a4_and_the_same_bytes_twice(every: dict[str, Report]) -> None:
    shown = sheet(every["tie"], read_language("en"))
    made, again = sheet_pdf(shown, None), sheet_pdf(shown, None)
    assert made is not None
    assert made == again
    assert len(re.findall(rb"/Type /Page\b", made)) == 1
    assert b"/MediaBox [ 0 0 595 842 ]" in made
    assert b"/ToUnicode" in made  # text, not outlines
    assert b"CreationDate" not in made


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_picture_stays_in_its_place(every: dict[str, Report], code: str) -> None:
    language = read_language(code)
    drawn = small_cost(every["tie"], language)
    assert drawn is not None
    picture = SmallCost(*drawn)
    with lettered_canvas(WIDTH, HEIGHT, picture.texts) as figure:
        if figure is None:
            pytest.skip("no font with Chinese characters on this machine")
        picture.draw(figure, EDGE, 400.0, WIDTH - 2 * EDGE, 120.0)
        boxes = [text.get_window_extent() for text in figure.texts]
    for box in boxes:  # a pixel is a point here
        assert EDGE - 1 <= box.x0 < box.x1 <= WIDTH - EDGE + 1
        assert 398 <= box.y0 < box.y1 <= 522
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            assert not box.shrunk(0.9, 0.6).overlaps(other.shrunk(0.9, 0.6))


def test_without_a_price_there_is_no_picture(every: dict[str, Report]) -> None:
    assert small_cost(every["none"], read_language("en")) is None


def test_its_text_can_be_searched(every: dict[str, Report], tmp_path: Path) -> None:
    if not shutil.which("pdftotext"):
        pytest.skip("no pdftotext on this machine")
    for code, words in (("en", "Every variant, the best first"), ("zh", "全部变体，最佳在前")):
        made = sheet_pdf(sheet(every["tie"], read_language(code)), None)
        if made is None:
            pytest.skip("no font with Chinese characters on this machine")
        (tmp_path / "sheet.pdf").write_bytes(made)
        read = subprocess.run(
            ["pdftotext", "-layout", str(tmp_path / "sheet.pdf"), "-"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert words in read
        assert "tiankong serve --model builtin-base --variant onnx-int8" in read


def test_rows_without_room_are_counted(every: dict[str, Report]) -> None:
    shown = sheet(every["tie"], read_language("en"))
    many = replace(shown, table=replace(shown.table, rows=shown.table.rows * 40))
    layout = lay_out_sheet(many, has_picture=True)
    (line,) = [piece.text for piece in layout.pieces if re.fullmatch(r"and \d+ more", piece.text)]
    drawn = sum(piece.text in ("onnx-int8", "onnx-fp16") for piece in layout.pieces)
    assert drawn + int(line.split()[1]) == len(many.table.rows) == 80


def test_the_candidates_are_the_explorers_with_their_standing(every: dict[str, Report]) -> None:
    table = candidates(every["decided"], read_language("en"))
    assert table.columns == ("Variant", "Instances", "A month", "Carries, requests/s", "P95, ms")
    assert [(row[0].text, row[0].note) for row in table.rows] == [
        ("onnx-int8", "recommended"),
        ("onnx-fp16", "runner-up"),
    ]
    assert [(entry.text, entry.note) for entry in table.rows[0][1:3]] == [
        ("3", "3–6"),
        ("¥2,100", "¥2,100–4,200"),
    ]
    failed = candidates(every["nothing"], read_language("en")).rows[0]
    assert (failed[0].note, failed[1].text) == ("failed the gate", "–")
    chinese = candidates(every["decided"], read_language("zh"))
    assert chinese.rows[0][3].note.endswith("；8 个用户时")  # not run together with the figure
