"""Cells for tests, each a copy of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.lines import checksum, encoded, seal
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point

# ``settings`` are a cell's; a point's settings have the run file's name here: ``asked``.
PARTS = {kind: {field.name for field in fields(kind)} - {"settings"} for kind in (Load, Point)}


def changed(cell: Cell, **changes: Any) -> Cell:
    """Return a cell with changes to it, to its point (``repeat``) or to its load (``users``)."""
    if "asked" in changes:
        cell = replace(cell, point=replace(cell.point, settings=changes.pop("asked")))
    own: dict[type, dict[str, Any]] = {
        kind: {name: changes.pop(name) for name in names & changes.keys()}
        for kind, names in PARTS.items()
    }
    point = replace(cell.point, load=replace(cell.load, **own[Load]), **own[Point])
    return replace(cell, point=point, **changes)


def sealed(lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the text of a run file with these lines, as if a measurement had written them."""
    written, last = [], 0
    for data in lines:
        line = seal(encoded({k: v for k, v in data.items() if k != "crc32"}), last)
        written.append(line)
        last = checksum(line, last)
    return "".join(written)
