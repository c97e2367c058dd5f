"""Markdown: text and grids as a code host renders them."""

from __future__ import annotations

from .tables import Contrast, Entry, Table

NOTE = " ({note})"  # how a remark follows an entry


def lines(grid: Table, note: str = NOTE) -> list[str]:
    """Return a grid as the lines of a Markdown table; ``note`` is the brackets of its language."""
    rule = ["---" if place in grid.words else "---:" for place in range(len(grid.columns))]
    rows = [[cell(entry, note) for entry in row] for row in grid.rows]
    head = [escape(column) for column in grid.columns]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def cell(entry: Entry, note: str = NOTE) -> str:
    """Return an entry as Markdown: its note in brackets, a bad one in bold."""
    text = escape(entry.text)
    bold = f"**{text}**" if entry.tone == "bad" else text
    notes = [entry.note, entry.badge.text if entry.badge else ""]
    return bold + "".join(note.format(note=escape(text)) for text in notes if text)


def contrast(pair: Contrast) -> str:
    """Return a contrast as a list item with an item for each side; the right token is in bold."""
    sentence = f"{escape(pair.before)}\\_\\_\\_\\_{escape(pair.after)}"
    head = " ".join(filter(None, (escape(pair.name), sentence, escape(pair.answer))))
    sides = [
        f"  - {escape(side.title)}: "
        + ", ".join(
            " ".join(filter(None, (f"**{escape(token)}**" if right else escape(token), chance)))
            for token, chance, right in side.tokens
        )
        for side in pair.ranks
    ]
    return "\n".join([f"- {head} {escape(pair.remark)}", *sides])


def escape(text: str) -> str:
    """Return text escaped so that Markdown prints it unchanged, on one line."""
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
