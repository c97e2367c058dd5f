"""The sheet: one page of A4 as a PDF, with text that can be selected and searched."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..text.sheet import Sheet
from ..text.tables import Entry, Table
from .card import CardLayout, draw_card, lay_out
from .fonts import lettered_canvas, write
from .small_cost import SmallCost
from .typesetting import Piece, broken, text_width

if TYPE_CHECKING:
    pass

WIDTH, HEIGHT = 595.0, 842.0  # A4 in points
EDGE = 34.0
INNER = WIDTH - 2 * EDGE
MOST_CARD = 250.0  # the card is made smaller if it is higher
PICTURE = (116.0, 210.0)  # the least and the greatest height of the picture
SIZE, SMALL, HEAD = 8.5, 7.0, 10.0
LEADING = 1.32
GAP = 12.0  # between blocks, and between columns
BESIDE = 3.0  # between a figure and its note
MOST_FIGURES = 0.72  # of the width, for the columns of figures


@dataclass(frozen=True)
class Block:
    """Lines of text and the height that they take; ``y`` counts from the block's top."""

    pieces: tuple[Piece, ...]
    height: float


@dataclass(frozen=True)
class SheetLayout:
    """Where everything stands: the card and its scale, the text, the picture's top and height."""

    card: CardLayout
    scale: float
    pieces: tuple[Piece, ...]
    picture: tuple[float, float]


def sheet_pdf(shown: Sheet, picture: SmallCost | None) -> bytes | None:
    """Return a sheet as PDF with a picture on it; None if no font here has its characters."""
    layout = lay_out_sheet(shown, has_picture=picture is not None)
    every = [piece.text for piece in (*layout.pieces, *layout.card.pieces)]
    every += picture.texts if picture is not None else []
    stream = io.BytesIO()
    with lettered_canvas(WIDTH, HEIGHT, every) as figure:
        if figure is None:
            return None
        draw_card(figure, layout.card, HEIGHT - EDGE, EDGE, layout.scale)
        write(figure, layout.pieces, HEIGHT)
        if picture is not None:
            top, height = layout.picture
            picture.draw(figure, EDGE, HEIGHT - top - height, INNER, height)
        told = {
            "Title": shown.decision.headline,
            "Creator": "tiankong",
            "Producer": None,
            "CreationDate": None,  # the same bytes every time
        }
        figure.savefig(stream, format="pdf", metadata=told)
    return stream.getvalue()


def lay_out_sheet(shown: Sheet, *, has_picture: bool) -> SheetLayout:
    """Return a sheet laid out; short of room the picture is lower, then rows are left out."""
    card = lay_out(shown.decision)
    scale = min(INNER / card.width, MOST_CARD / card.height)
    if scale * card.width < INNER:  # smaller letters, longer lines
        card = lay_out(shown.decision, INNER / scale)
    below = _stacked([_labelled(shown), _commands(shown), _paragraph(shown.caveat, "soft")])
    foot = _paragraph(shown.provenance, "soft", SMALL)
    y = EDGE + card.height * scale + GAP
    room = HEIGHT - EDGE - foot.height - GAP - below.height - GAP - y
    least = PICTURE[0] + GAP if has_picture else 0.0
    table = _table(shown, room - least)
    height = min(PICTURE[1], room - table.height - GAP) if has_picture else 0.0
    picture = (y, height)
    y += height + GAP if has_picture else 0.0
    pieces: list[Piece] = []
    for block in (table, below):
        pieces += _moved(block, y)
        y += block.height + GAP
    pieces += _moved(foot, HEIGHT - EDGE - foot.height)
    return SheetLayout(card, scale, tuple(pieces), picture)


def _moved(block: Block, y: float) -> Iterator[Piece]:
    for piece in block.pieces:
        yield replace(piece, y=piece.y + y)


def _stacked(blocks: Iterable[Block]) -> Block:
    pieces: list[Piece] = []
    y = 0.0
    for block in blocks:
        if block.pieces:
            y += GAP / 2 if pieces else 0.0
            pieces += _moved(block, y)
            y += block.height
    return Block(tuple(pieces), y)


def _paragraph(text: str, role: str = "ink", size: float = SIZE) -> Block:
    lines = broken(text, INNER, size) if text else []
    pieces = [
        Piece(line, EDGE, (place + 1) * size * LEADING, size, role)
        for place, line in enumerate(lines)
    ]
    return Block(tuple(pieces), len(lines) * size * LEADING + 2)


def _labelled(shown: Sheet) -> Block:
    """Return the lines with their labels in a column of their own."""
    widest = max((text_width(line.label, SIZE, bold=True) for line in shown.lines), default=0.0)
    indent = min(widest + GAP, INNER / 3)
    pieces, y = [], 0.0
    for line in shown.lines:
        for place, text in enumerate(broken(line.text, INNER - indent, SIZE)):
            y += SIZE * LEADING
            if not place:
                pieces.append(Piece(line.label, EDGE, y, SIZE, bold=True))
            pieces.append(Piece(text, EDGE + indent, y, SIZE))
        y += 2
    return Block(tuple(pieces), y)


def _commands(shown: Sheet) -> Block:
    if not shown.commands:
        return Block((), 0.0)
    y = HEAD * LEADING
    pieces = [Piece(shown.label, EDGE, y, HEAD, bold=True)]
    for command in shown.commands:
        for line in broken(command, INNER, SIZE, mono=True):
            y += SIZE * LEADING
            pieces.append(Piece(line, EDGE, y, SIZE, mono=True))
    return Block(tuple(pieces), y + 2)


def _table(shown: Sheet, room: float) -> Block:
    """Return as much of the table as there is room for, in points; at least its first row."""
    table = shown.table
    if not table.rows:
        return Block((), 0.0)
    y = HEAD * LEADING
    pieces = [Piece(table.caption, EDGE, y, HEAD, bold=True)]
    columns = _columns(table)
    y += 4
    rows = [_row(tuple(Entry(head, tone="head") for head in table.columns), columns)]
    rows += [_row(row, columns) for row in table.rows]
    for place, row in enumerate(rows):
        rest = len(rows) - place
        needed = row.height + (SIZE * LEADING if rest > 1 else 0.0)
        if place > 1 and y + needed > room:
            y += SIZE * LEADING
            pieces.append(Piece(shown.more.format(more=rest), EDGE, y, SIZE, "soft"))
            break
        pieces += _moved(row, y)
        y += row.height
    return Block(tuple(pieces), y + 2)


@dataclass(frozen=True)
class _Column:
    """A column's width, and how much of it its notes have beside the figures (0: below them)."""

    width: float
    notes: float = 0.0


def _columns(table: Table) -> list[_Column]:
    """Return columns as wide as what stands in them; the first one, of names, has the rest."""
    places = range(1, len(table.columns))
    notes = [max(text_width(row[place].note, SMALL) for row in table.rows) for place in places]
    wide = [
        max(text_width(row[place].text, SIZE) for row in table.rows) + (note and note + BESIDE)
        for place, note in zip(places, notes, strict=True)
    ]
    heads = [text_width(table.columns[place], SIZE, bold=True) for place in places]
    made = [
        _Column(max(width, head) + GAP, note)
        for width, head, note in zip(wide, heads, notes, strict=True)
    ]
    others = sum(column.width for column in made)
    if others > MOST_FIGURES * INNER:  # no room beside each other
        made = [_Column(column.width * MOST_FIGURES * INNER / others) for column in made]
        others = MOST_FIGURES * INNER
    return [_Column(INNER - others), *made]


def _row(row: Sequence[Entry], columns: Sequence[_Column]) -> Block:
    """Return a row: names from the left, figures from the right, notes beside or below them."""
    pieces: list[Piece] = []
    height, x = 0.0, EDGE
    for place, (entry, column) in enumerate(zip(row, columns, strict=True)):
        y = 0.0
        head, end = entry.tone == "head", x + column.width
        role = entry.tone if entry.tone in ("good", "bad") and place else "ink"
        note_role = entry.tone if entry.tone in ("good", "bad") and not place else "soft"
        first = text_width(entry.text, SIZE) + 2 * BESIDE
        fits = first + text_width(entry.note, SMALL) <= column.width - GAP
        beside = not head and (column.notes > 0 if place else fits)
        right = end - column.notes - BESIDE if beside else end
        parts = [(entry.text, SIZE, role, right)]
        if beside:
            at, anchor = (end, "end") if place else (x + first, "start")
            pieces.append(Piece(entry.note, at, SIZE * LEADING, SMALL, note_role, anchor=anchor))
        else:
            parts.append((entry.note, SMALL, note_role, end))
        for text, size, colour, right in parts:
            for line in broken(text, column.width - GAP, size, bold=head) if text else []:
                y += size * LEADING
                at, anchor = (right, "end") if place else (x, "start")
                pieces.append(Piece(line, at, y, size, colour, head, anchor))
        x, height = end, max(height, y)
    return Block(tuple(piece for piece in pieces if piece.text), height + 3)
