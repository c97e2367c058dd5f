"""The explorer: the table of candidates, and what the page's script needs for other questions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..facts.answer import Answer
from ..facts.candidates import Candidate
from ..facts.capacity import Capacity, closest, percentile_of
from ..facts.costs import Offer, Range, break_even, fits
from ..facts.exploration import UNKNOWN, Sources, exploration
from ..facts.points import MeasuredPoint, Series
from ..facts.question import READER
from ..facts.report import Report
from ..facts.standing import standing
from ..plots.looks import looks
from ..plots.palette import SOFT
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Entry, Table
from .answer import card, every_settings, reason

COLUMNS = (
    "variant", "standing", "instances", "month", "million", "capacity", "percentile", "dearer",
)  # fmt: skip
GROUPS = (
    "answer", "sure", "reason", "runner_up", "gpu", "assumed", "refused", "currency", "kind",
    "origin", "line", "stack", "count", "explorer", "explored", "standing", "pareto",
)  # fmt: skip
LISTS = ("join", "list")
NOTHING = Entry(figures.NONE, "", "muted")


@dataclass(frozen=True)
class Explorer:
    """The explorer of a page in one language; ``data`` is JSON for a script element.

    ``currency`` is that of the question's price ("" without a price); ``command`` names the command
    of the same page.
    """

    table: Table
    currency: str
    command: str
    data: str


def explorer(report: Report, language: Language, sources: Sources = UNKNOWN) -> Explorer | None:
    """Return the explorer of a report; None if there is nothing to answer from."""
    if not report.points and not report.searches:
        return None
    price = report.question.price
    return Explorer(
        candidates_table(report, language),
        price.currency if price else "",
        language.say("explorer.command_here" if sources.runs else "explorer.command"),
        _script_text(_data(report, language, sources)),
    )


def _data(report: Report, language: Language, sources: Sources) -> dict[str, Any]:
    words = {key: language.words[key] for key in (*LISTS, *GROUPS)}
    lines = card(report, language).lines
    cells = next(line.text for line in lines if line.key == "cells")
    facts = exploration(report, sources)
    _translate(facts, report, language)
    drawn, settings = looks(report, standing(report), language), _settings(report)
    for each in facts["series"]:
        series = (each["variant"], each["stack"])
        look = drawn.get(series)
        each["look"] = look.colour.name if look else SOFT.name
        each["dashes"] = list(look.dashes) if look else []
        for point in each["points"]:
            point["settings"] = settings.get((series, point["users"]), "")
    return {"facts": facts, "words": words, "cells": cells}


def _translate(facts: dict[str, Any], report: Report, language: Language) -> None:
    """Put names, sources and reasons into the facts, as readers of a language know them."""
    fitting = [price for price in report.prices if fits(price, report.bench)]
    for told, price in zip(facts["prices"], fitting, strict=True):
        told["machine"] = phrases.machine(price, language)
        told["source"] = language.known(price.source.title)
    gpu = [price for price in report.prices if price.accelerator]
    for told, price in zip(facts["accelerated"], gpu, strict=True):
        told["source"] = language.known(price.source.title)
    if (chosen := report.question.gpu_price) is not None:
        facts["question"]["gpu_price"]["source"] = language.known(chosen.source.title)
    for row in facts["variants"]:
        row["reasons"] = [phrases.promise(sentence, language) for sentence in row["reasons"]]
    facts["reader"] = language.known(READER.title)


def _settings(report: Report) -> dict[tuple[Series, int], str]:
    every = every_settings(report)
    return {(point.series, point.users): every.get(point.key, "") for point in report.points}


def _script_text(data: dict[str, Any]) -> str:
    """Return JSON that no text in it can end early inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def candidates_table(report: Report, language: Language) -> Table:
    """Return every candidate as a row, in the order of the answer."""
    found = report.answer
    rank = phrases.percentile_name(found.question.rank)
    heads = tuple(language.say(f"explored.{key}", rank=rank) for key in COLUMNS)
    rows = tuple(tuple(_row(each, report, language)) for each in found.candidates)
    return Table(heads, rows, language.say("explorer.table"), frozenset({0, 1}))


def _row(each: Candidate, report: Report, language: Language) -> Iterator[Entry]:
    found = report.answer
    rank = found.question.rank
    yield Entry(phrases.name(each.series, language))
    yield _standing(each, report, language)
    if each.instances is None or each.capacity is None:
        yield from (NOTHING, NOTHING, NOTHING, NOTHING, _near(each, report, language), NOTHING)
        return
    value, low, high = each.instances
    yield Entry(str(value), "" if low == high else f"{low}–{high}")
    for figure in (each.monthly, each.per_million):
        yield _paid(figure, found, language)
    yield _carried(each.capacity, language)
    yield _latency(each.capacity.point, rank) if each.capacity.point else NOTHING
    yield _dearer(each, found)


def _standing(each: Candidate, report: Report, language: Language) -> Entry:
    found = report.answer
    rank = found.question.rank
    notes = [reason(gap, rank, language) for gap in each.gaps]
    key, tone = _place(each, found)
    own = [point for point in report.points if point.series == each.series]
    if key == "breaks" and closest(own, rank) is None:
        key = "unknown"
    if each.refusal == "gate-failed":
        row = next(row for row in report.variants if row.name == each.variant)
        told = row.gate.reasons if row.gate else ()
        notes += (phrases.promise(sentence, language) for sentence in told)
    return Entry(
        language.say(f"standing.{key}", rank=phrases.percentile_name(rank)),
        language.say("answer.because").join(notes),
        tone,
    )


def _place(each: Candidate, found: Answer) -> tuple[str, str]:
    """Return how a candidate stands in an answer, and the tone of that."""
    if each.refusal:
        return each.refusal, "bad"
    if each.capacity is None:
        return "breaks", "muted"
    if each is found.leading:
        if found.tied:
            return "tied_first", "good"
        return "recommended" if found.status == "decided" else "leading", "good"
    if each in found.tied:
        return "tied", "good"
    return "runner_up" if each is found.runner_up else "less", ""


def _paid(figure: Range | None, found: Answer, language: Language) -> Entry:
    price = found.question.price
    if figure is None or price is None:
        return NOTHING
    ends = "" if figure.low == figure.high else phrases.month_ends(price.currency, figure, language)
    return Entry(phrases.money(price.currency, figure.value, language), ends)


def _carried(found: Capacity, language: Language) -> Entry:
    if found.search is not None:
        where = language.say("explorer.by_search", repeats=found.search.repeats)
    else:
        assert found.point is not None
        where = _at(found.point, language)
    told = (figures.span(found.qps.low, found.qps.high), where) if found.bounded else (where,)
    return Entry(figures.significant(found.qps.value), _listed(told, language))


def _at(point: MeasuredPoint, language: Language) -> str:
    return language.say("explorer.at_level", users=language.count(point.users))


def _latency(point: MeasuredPoint, rank: int) -> Entry:
    found = percentile_of(point, rank)
    assert found is not None
    note = figures.span(*found.ends) if found.ends else ""
    return Entry(figures.significant(found.value), note)


def _near(each: Candidate, report: Report, language: Language) -> Entry:
    """Return the lowest percentile of a series that does not keep the objective."""
    rank = report.question.rank
    own = [point for point in report.points if point.series == each.series]
    point = None if each.refusal else closest(own, rank)
    if point is None:
        return NOTHING
    found, where = _latency(point, rank), _at(point, language)
    note = _listed((found.note, where), language) if found.note else where
    return Entry(found.text, note, "muted")


def _listed(told: Iterable[str], language: Language) -> str:
    return str(language.words["list"]).join(told)


def _dearer(each: Candidate, found: Answer) -> Entry:
    """Return the load above which a candidate first costs more than the leading one."""
    leading, price = found.leading, found.question.price
    if leading is None or each is leading or price is None or not each.each or not leading.each:
        return NOTHING
    own, best = (Offer(price.monthly, one.value) for one in (each.each, leading.each))
    load = break_even(own, best, found.question.instances)
    return NOTHING if load is None else Entry(figures.significant(load))
