"""Markdown: text and grids as a code host renders them."""

from __future__ import annotations

from .tables import Entry, Table


def lines(grid: Table) -> list[str]:
    """Return a grid as the lines of a Markdown table."""
    rule = ["---" if place in grid.words else "---:" for place in range(len(grid.columns))]
    rows = [[cell(entry) for entry in row] for row in grid.rows]
    head = [escape(column) for column in grid.columns]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def cell(entry: Entry) -> str:
    """Return an entry as Markdown: its note in brackets, a bad one in bold."""
    text = escape(entry.text)
    bold = f"**{text}**" if entry.tone == "bad" else text
    notes = [entry.note, entry.badge.text if entry.badge else ""]
    return " ".join([bold, *(f"({escape(note)})" for note in notes if note)])


def escape(text: str) -> str:
    """Return text escaped so that Markdown prints it unchanged, on one line."""
    for sign in "\\`*_<>|[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
