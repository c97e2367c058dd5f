"""The sheet: the answer with its candidates, assumptions and commands, for one page of paper."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts.answer import Candidate
from ..facts.capacity import percentile_of
from ..facts.costs import Range
from ..facts.report import Report
from ..text import figures, phrases
from ..text.language import Language
from ..text.sheet import Sheet
from ..text.tables import Entry, Table
from .answer import card
from .decision import decision

ON_THE_CARD = ("sure", "runner_up")
SHORT = 12  # characters of a commit or digest that a reader needs
COLUMNS = ("variant", "instances", "month", "million", "capacity", "latency")


def sheet(report: Report, language: Language) -> Sheet:
    """Return the answer of a report as a sheet."""
    said, header = card(report, language), report.header
    revision = str(header.model.get("revision") or "")[:SHORT]
    return Sheet(
        decision(report, language),
        candidates(report, language),
        tuple(line for line in said.lines if line.key not in ON_THE_CARD),
        language.say("command.label"),
        said.commands,
        said.caveat,
        language.say(
            "sheet.provenance",
            runs=str(language.words["list"]).join(run.header.run for run in report.runs),
            started=header.started,
            model=f"{header.model.get('name')} {revision}".strip(),
            tool=header.tool,
        ),
        language.words["sheet"]["more"],
    )


def candidates(report: Report, language: Language) -> Table:
    """Return every candidate as a row, in the order of the answer's preference."""
    rank = phrases.percentile_name(report.question.rank)
    heads = tuple(language.say(f"candidate.{key}", rank=rank) for key in COLUMNS)
    rows = tuple(tuple(_row(each, report, language)) for each in report.answer.candidates)
    return Table(heads, rows, language.say("sheet.candidates"))


def _row(each: Candidate, report: Report, language: Language) -> Iterator[Entry]:
    refused = language.say(f"card.{each.refusal}") if each.refusal else ""
    yield Entry(phrases.name(each.series, language), refused, "bad" if refused else "")
    if each.capacity is None or each.instances is None:
        yield from (Entry(figures.NONE, tone="muted") for _ in COLUMNS[1:])
        return
    value, low, high = each.instances
    yield Entry(str(value), "" if low == high else f"{low}–{high}")
    for figure in (each.monthly, each.per_million):
        yield _money(figure, report, language)
    ends = figures.span(each.capacity.qps.low, each.capacity.qps.high)
    yield Entry(figures.significant(each.capacity.qps.value), ends if each.capacity.bounded else "")
    point = each.capacity.point
    latency = point and percentile_of(point, report.question.rank)
    if not latency:
        yield Entry(figures.NONE, tone="muted")
    else:
        note = figures.span(*latency.ends) if latency.ends else ""
        yield Entry(figures.significant(latency.value), note)


def _money(figure: Range | None, report: Report, language: Language) -> Entry:
    price = report.question.price
    if figure is None or price is None:
        return Entry(figures.NONE, tone="muted")
    ends = [phrases.money(price.currency, end, language) for end in (figure.low, figure.high)]
    note = "" if ends[0] == ends[1] else "–".join(ends)
    return Entry(phrases.money(price.currency, figure.value, language), note)
