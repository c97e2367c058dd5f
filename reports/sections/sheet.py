"""The sheet: the answer with its candidates, assumptions and commands, for one page of paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..facts.answer import Candidate
from ..facts.capacity import percentile_of
from ..facts.costs import Range
from ..facts.points import Series
from ..facts.report import Report
from ..facts.standing import standing
from ..plots.cost import CostView, CostWords
from ..plots.looks import Look, fewer, looks
from ..text import figures, phrases
from ..text.language import Language
from ..text.sheet import Sheet
from ..text.tables import Entry, Table
from .answer import card
from .cost_view import cost_view, cost_words, priced_points
from .decision import decision

Looks = Mapping[Series, Look]

ON_THE_CARD = ("sure", "runner_up")
MOST_SERIES = 9  # more names do not fit beside the picture
SHORT = 12  # characters of a commit or digest that a reader needs
COLUMNS = ("variant", "instances", "month", "capacity", "latency")


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


def small_cost(report: Report, language: Language) -> tuple[CostView, Looks, CostWords] | None:
    """Return what the sheet's picture shows, how, and its words; None without a priced point."""
    brought_out = standing(report)
    styles = looks(report, brought_out, language)
    shown, _ = fewer(report.points, styles, MOST_SERIES)
    view = cost_view(priced_points(report, brought_out), brought_out, shown)
    return None if view is None else (view, styles, cost_words(brought_out, styles, language))


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
    ends = language.say("answer.range", ends=f"{low}–{high}").strip()
    yield Entry(str(value), "" if low == high else ends)
    yield _money(each.monthly, report, language)
    qps = each.capacity.qps
    yield _ranged(figures.significant(qps.value), qps, language)
    point = each.capacity.point
    latency = point and percentile_of(point, report.question.rank)
    if not latency:
        yield Entry(figures.NONE, tone="muted")
    else:
        bounds = latency.ends or (latency.value, latency.value)
        yield _ranged(figures.significant(latency.value), Range(latency.value, *bounds), language)


def _ranged(text: str, figure: Range, language: Language) -> Entry:
    return Entry(text, phrases.qps_range(figure, language).strip())


def _money(figure: Range | None, report: Report, language: Language) -> Entry:
    price = report.question.price
    if figure is None or price is None:
        return Entry(figures.NONE, tone="muted")
    ends = phrases.month_range(price.currency, figure, language).strip()
    return Entry(phrases.money(price.currency, figure.value, language), ends)
