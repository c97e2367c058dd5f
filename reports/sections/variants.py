"""The table of variants: sizes, memory and gate result."""

from __future__ import annotations

from ..facts.report import Report
from ..facts.variants import VariantRow
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Table, columns, stack


def variant_grid(report: Report, language: Language) -> Table:
    """Return size, memory and gate result of every variant."""
    keys = ("variant", "file", "total", "memory", "gate", "hit1", "hit5", "agreement")
    rows = tuple(_variant_row(row, language) for row in report.variants)
    return Table(
        columns(language, keys),
        rows,
        words=frozenset({0, keys.index("memory"), keys.index("gate")}),
    )


def _variant_row(row: VariantRow, language: Language) -> tuple[Entry, ...]:
    memory = str(language.words["list"]).join(
        language.say(
            "cell.memory_at", mebibytes=figures.mebibytes(size), stack=stack(name, language)
        )
        for name, size in row.memory
    )
    gate = row.gate
    shares: tuple[float | None, ...] = ()
    if gate is None:
        answer = Entry(language.say("cell.unasked"), tone="bad")
    else:
        shares = (gate.hit_at_1, gate.hit_at_5, gate.top1_agreement)
        word, tone = ("passed", "good") if gate.passed else ("failed", "bad")
        word, tone = (word, tone) if gate.judged else ("unjudged", "bad")
        answer = Entry(language.say(f"cell.{word}"), "; ".join(gate.reasons), tone)
    return (
        Entry(row.name, language.pick(row.entry, "summary")),
        Entry(figures.megabytes(row.file_bytes) if row.file_bytes else figures.NONE),
        Entry(figures.megabytes(row.total_bytes) if row.total_bytes else figures.NONE),
        Entry(memory or figures.NONE),
        answer,
        *(Entry(figures.share(value)) for value in shares),
        *(Entry(figures.NONE, tone="muted") for _ in range(3 - len(shares))),
    )
