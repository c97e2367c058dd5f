"""The tables of variants: sizes and memory; what the gate found; the flipped items by name."""

from __future__ import annotations

from collections.abc import Iterator

from ...toolkit.files import MEBIBYTE
from ..facts.report import Report
from ..facts.variants import Gate, VariantRow
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, stack

SIZES = ("variant", "file", "total", "memory")
FOUND = (
    "variant", "gate", "hit1", "hit5", "guessed", "agreement", "top5", "order", "flipped", "delta",
    "divergence", "worst", "batches",
)  # fmt: skip


def variants(report: Report, language: Language) -> Section:
    """Show size, memory and gate of every variant, and name the flipped items."""
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
        grids=(size_grid(report, language), gate_grid(report, language)),
        items=tuple(flip_lines(report, language)),
        notes=(note, language.say("variants.gate_note")),
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


def gate_grid(report: Report, language: Language) -> Table:
    """Return everything the gate found about every variant."""
    rows = tuple((Entry(row.name), *_found(row.gate, language)) for row in report.variants)
    words = frozenset({0, FOUND.index("gate"), FOUND.index("batches")})
    return Table(columns(language, FOUND), rows, language.say("variants.gate"), words)


def _found(gate: Gate | None, language: Language) -> tuple[Entry, ...]:
    if gate is None:
        unasked = Entry(language.say("cell.unasked"), tone="bad")
        return (unasked, *[Entry(figures.NONE, tone="muted")] * (len(FOUND) - 2))
    shares = (
        gate.hit_at_1, gate.hit_at_5, gate.guessed, gate.top1_agreement, gate.top5_agreement,
        gate.order_agreement,
    )  # fmt: skip
    flips = figures.NONE if gate.flipped is None else str(len(gate.flipped))
    worst = figures.small(gate.worst_divergence)
    return (
        _outcome(gate, language),
        *(Entry(figures.share(share)) for share in shares),
        Entry(flips),
        Entry(figures.small(gate.max_delta)),
        Entry(figures.small(gate.divergence)),
        Entry(worst, gate.worst if gate.worst_divergence else ""),
        Entry(_batches(gate, language)),
    )


def _outcome(gate: Gate, language: Language) -> Entry:
    reasons = list(gate.reasons)
    word, tone = ("passed", "good") if gate.passed else ("failed", "bad")
    if not gate.judged:
        word, tone = "unjudged", "bad"
    if gate.at_chance:
        tone = "bad"
        reasons.append(language.say("cell.at_chance"))
    return Entry(language.say(f"cell.{word}"), "; ".join(reasons), tone)


def _batches(gate: Gate, language: Language) -> str:
    if gate.independent is None:
        return figures.NONE
    return language.say("cell.same" if gate.independent else "cell.other")


def flip_lines(report: Report, language: Language) -> Iterator[str]:
    """Yield a line for each variant with flipped items, which names them all."""
    for row in report.variants:
        flipped = row.gate.flipped if row.gate else None
        if flipped:
            items = str(language.words["list"]).join(
                language.say(
                    "variants.flip", id=item.id, reference=item.reference, given=item.variant,
                    answer=item.answer,
                )
                for item in flipped
            )  # fmt: skip
            yield language.say("variants.flipped", variant=row.name, items=items)
