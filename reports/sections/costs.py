"""What a million requests cost on each priced machine, one table a currency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..facts.costs import SECONDS_PER_MONTH, Cost, cost
from ..facts.points import MeasuredPoint
from ..facts.prices import HOURS_PER_MONTH, Price, Source
from ..facts.report import Report
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, stack

MOST_COLUMNS = 7  # of points, so that a table fits on a screen and on paper


def costs(report: Report, language: Language) -> Section | None:
    """Show what a million requests cost on each priced machine, one grid a currency."""
    if not report.points:
        return None
    say = language.say
    currencies = dict.fromkeys(price.currency for price in report.prices)
    threads = report.bench.threads_per_core
    notes = (
        say("costs.note", hours=HOURS_PER_MONTH, seconds=SECONDS_PER_MONTH // HOURS_PER_MONTH),
        say("costs.threads", threads=threads or say("cell.unknown")),
        say("costs.kinds", hours=HOURS_PER_MONTH),
    )
    sources = {price.source.key: price.source for price in report.prices}
    return Section(
        "costs",
        say("heading.costs"),
        grids=tuple(
            grid for currency in currencies for grid in cost_grids(report, language, currency)
        ),
        items=tuple(source_line(source, language) for source in sources.values()),
        notes=notes,
        gist=say(
            "gist.costs",
            prices=len(report.prices),
            currencies=language.listed(map(language.known, currencies)),
        ),
    )


def cost_grids(report: Report, language: Language, currency: str) -> Iterator[Table]:
    """Yield tables of what a million requests cost; best points that are many are on several."""
    points = _chosen_first(report)
    caption = language.say("costs.currency", currency=language.known(currency))
    for number, start in enumerate(range(0, len(points), MOST_COLUMNS), start=1):
        shown = points[start : start + MOST_COLUMNS]
        name = caption
        if len(points) > MOST_COLUMNS:
            name = language.say("shell.numbered", name=caption, number=number)
        yield _grid(report, language, currency, shown, name, number > 1)


def _grid(
    report: Report,
    language: Language,
    currency: str,
    points: Sequence[MeasuredPoint],
    caption: str,
    folded: bool,
) -> Table:
    """Return a row a price, a column for each point."""
    heads = columns(language, ("machine", "kind", "source", "month", "threads"))
    gates = {row.name: row.gate for row in report.variants}
    for point in points:
        gate = gates.get(point.variant)
        mark = language.say("cell.gate_failed") if gate is None or not gate.passed else ""
        if gate is not None and gate.at_chance:
            mark = language.say("cell.guesses")
        heading = language.say(
            "cell.cost_at",
            variant=point.variant,
            mark=mark,
            stack=stack(point.stack, language),
            users=language.count(point.users),
            qps=figures.significant(point.qps.value),
        )
        heads += (heading,)
    rows = tuple(
        _cost_row(report, language, price, points)
        for price in report.prices
        if price.currency == currency
    )
    return Table(heads, rows, caption, words=frozenset({0, 1, 2}), folded=folded)


def _chosen_first(report: Report) -> list[MeasuredPoint]:
    chosen = report.answer.leading
    return sorted(
        report.best.values(), key=lambda point: chosen is None or point.series != chosen.series
    )


def _cost_row(
    report: Report, language: Language, price: Price, points: Sequence[MeasuredPoint]
) -> tuple[Entry, ...]:
    unknown = language.say("cell.unknown")
    date = price.source.date or language.say("cell.no_date")
    hourly = ""
    if price.per_hour is not None:
        hourly = language.say("cell.hourly", amount=figures.unrounded(price.per_hour))
    threads = f"{price.threads_per_core or unknown} / {report.bench.threads_per_core or unknown}"
    return (
        Entry(phrases.machine(price, language), _size(price, language)),
        Entry(language.say(f"kind.{price.kind}")),
        Entry(f"[{price.source.key}]", date),
        Entry(figures.amount(price.monthly), hourly),
        Entry(threads),
        *(
            _cost_entry(price, cost(price, point.qps.value, report.bench), language)
            for point in points
        ),
    )


def _cost_entry(price: Price, priced: Cost | None, language: Language) -> Entry:
    if priced is not None:
        note = language.say("cell.optimistic") if priced.optimistic else ""
        return Entry(figures.significant(priced.per_million), note)
    if price.accelerator:
        return Entry(language.say("cell.no_gpu"), tone="muted")
    if price.vcpu is None or price.architecture is None:
        return Entry(language.say("cell.not_measured"), tone="muted")
    return Entry(language.say("cell.other_architecture"), tone="muted")


def _size(price: Price, language: Language) -> str:
    parts = [
        language.say("cell.vcpu", vcpu=price.vcpu) if price.vcpu else "",
        language.say("cell.memory", memory=f"{price.memory_gib:g}") if price.memory_gib else "",
        price.accelerator or "",
        price.region or "",
    ]
    return language.listed(part for part in parts if part)


def source_line(source: Source, language: Language) -> str:
    """Return where a price comes from, in one line."""
    details = (source.date or language.say("cell.no_date"), language.known(source.note or ""))
    return language.say(
        "costs.source",
        letter=source.key,
        title=language.known(source.title),
        details=str(language.words["list"]).join(detail for detail in details if detail),
    )
