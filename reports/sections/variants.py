"""The table of variants: size and memory."""

from __future__ import annotations

from ...toolkit.files import MEBIBYTE
from ..facts.report import Report
from ..facts.variants import VariantRow
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, stack

SIZES = ("variant", "file", "total", "memory")


def variants(report: Report, language: Language) -> Section:
    """Show size and memory of every variant."""
    gold = report.header.gold
    note = language.say(
        "variants.note",
        mebibyte=MEBIBYTE,
        gold=gold.get("name", figures.NONE),
        items=gold.get("items", figures.NONE),
    )
    return Section(
        "variants",
        language.say("heading.variants"),
        grids=(size_grid(report, language),),
        notes=(note,),
        gist=language.say(
            "gist.variants",
            variants=len(report.variants),
            passed=sum(row.gate is not None and row.gate.passed for row in report.variants),
        ),
    )


def size_grid(report: Report, language: Language) -> Table:
    """Return the size and memory of every variant."""
    rows = tuple(_size_row(row, language) for row in report.variants)
    return Table(columns(language, SIZES), rows, words=frozenset({0, SIZES.index("memory")}))


def _size_row(row: VariantRow, language: Language) -> tuple[Entry, ...]:
    memory = str(language.words["list"]).join(
        language.say(
            "cell.memory_at", mebibytes=figures.mebibytes(size), stack=stack(name, language)
        )
        for name, size in row.memory
    )
    return (
        Entry(row.name, language.pick(row.entry, "summary")),
        Entry(figures.megabytes(row.file_bytes) if row.file_bytes else figures.NONE),
        Entry(figures.megabytes(row.total_bytes) if row.total_bytes else figures.NONE),
        Entry(memory or figures.NONE),
    )
