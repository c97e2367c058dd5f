"""Pages: a report in one language as sections of headings, paragraphs and tables of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ...toolkit.files import MEBIBYTE
from ..facts.costs import SECONDS_PER_MONTH
from ..facts.estimates import CONFIDENCE_PERCENT
from ..facts.points import MeasuredPoint
from ..facts.prices import HOURS_PER_MONTH
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Page, Section, Table, columns
from .answer import card
from .article import article_grid, claims_grid
from .costs import cost_grid, source_line
from .method import method
from .pictures import costs_plot, growth, latency
from .points import open_grid, other_grid, point_grid
from .scaling import axis_grids
from .variants import flip_lines, gate_grid, size_grid
from .warnings import warnings

PER_COUNT = 1_000_000


def page(report: Report, language: Language) -> Page:
    """Return the page of a report in one language."""
    header, say = report.header, language.say
    model, machine = header.model, header.machine
    title = language.pick(model, "title") or str(model.get("name") or language.words["untitled"])
    geometry = ("layers", "hidden", "heads", "intermediate", "vocabulary")
    lead = say(
        "page.lead",
        model=title,
        parameters=figures.significant(model["parameters"] / PER_COUNT),
        cpu=machine["cpu"],
        cores=report.bench.cores,
        runs=", ".join(run.header.run for run in report.runs),
        started=header.started,
        **{key: model.get(key, figures.NONE) for key in geometry},
    )
    caveat = language.pick(model, "caveat")
    return Page(
        language,
        say("page.title", model=title),
        lead,
        say("page.caveat", caveat=caveat) if caveat else "",
        card(report, language),
        tuple(make(report, language) for make in _makers(report)),
        say("page.footer", tool=header.tool),
    )


def _makers(report: Report) -> Iterator[Callable[[Report, Language], Section]]:
    """Yield the functions that make the sections, in order, without those with nothing to show."""
    if report.points:
        yield from (measured, article, latency, costs_plot)
    if report.open_points:
        yield open_loop
    if report.scaling.axes or report.scaling.others:
        yield scaling
    yield variants
    if report.points:
        yield costs
    yield from (machine_facts, method, warnings)


def measured(report: Report, language: Language) -> Section:
    """Show every plain point: throughput, latency, CPU, memory, failures."""
    say = language.say
    notes = (
        say("measured.note", cores=report.bench.cores),
        *_interval_note(report.points, language),
        say("measured.goodput", limit=figures.unrounded(report.question.limit_ms)),
        _yardstick_note(report, language),
    )
    return Section(
        "measured", say("heading.measured"), grids=(point_grid(report, language),), notes=notes
    )


def _yardstick_note(report: Report, language: Language) -> str:
    if any(point.ratio is not None for point in report.points):
        return language.say("measured.yardstick")
    if not report.article_points:
        return language.say("measured.no_yardstick")
    codes = dict.fromkeys(
        doubt.warn.code
        for point in report.article_points.values()
        for doubt in point.doubts
        if doubt.warn.invalidates
    )
    return language.say("measured.invalid_yardstick", reasons=", ".join(codes))


def _interval_note(points: Sequence[MeasuredPoint], language: Language) -> tuple[str, ...]:
    if not any(point.qps.ends for point in points):
        return (language.say("measured.single"),)
    return (language.say("measured.interval", level=figures.percent(CONFIDENCE_PERCENT)),)


def open_loop(report: Report, language: Language) -> Section:
    """Show every open-loop point: intended rate, throughput, latency, lateness."""
    say = language.say
    notes = (
        say("open.note"),
        say("measured.goodput", limit=figures.unrounded(report.question.limit_ms)),
        *_interval_note(report.open_points, language),
    )
    return Section(
        "open",
        say("heading.open"),
        (say("open.lead"),),
        (open_grid(report, language),),
        notes=notes,
    )


def scaling(report: Report, language: Language) -> Section:
    """Show how throughput and latency change along each axis that has points."""
    facts, say = report.scaling, language.say
    grids = axis_grids(report, language)
    if facts.others:
        grids += (other_grid(facts.others, language),)
    all_points = (*facts.points, *facts.others)
    return Section(
        "scaling",
        say("heading.scaling"),
        (say("scaling.lead"),),
        grids,
        growth(report, language),
        notes=(say("scaling.note"), *_interval_note(all_points, language)),
    )


def article(report: Report, language: Language) -> Section:
    """Show the article's table and claims, quoted beside what was measured here."""
    quoted, say = report.article, language.say
    notes = [say("article.quoted")]
    for row in quoted.implausible:
        notes.append(
            say(
                "article.implausible",
                users=language.count(row.users),
                qps=figures.unrounded(row.qps),
                mean=figures.significant(row.mean_ms),
                p95=figures.unrounded(row.p95_ms),
                tail=figures.significant(row.tail_ms),
            )
        )
    if not quoted.implausible:
        notes.append(say("article.plausible"))
    return Section(
        "article",
        say("heading.article"),
        (say("article.note", date=quoted.date, cores=quoted.cores, here=report.bench.cores),),
        (article_grid(report, language), claims_grid(report, language)),
        notes=tuple(notes),
    )


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
    )


def costs(report: Report, language: Language) -> Section:
    """Show what a million requests cost on each priced machine, one grid a currency."""
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
        grids=tuple(cost_grid(report, language, currency) for currency in currencies),
        items=tuple(source_line(source, language) for source in sources.values()),
        notes=notes,
    )


def machine_facts(report: Report, language: Language) -> Section:
    """Show the machine's fingerprint and the versions of what decides speed."""
    heads = columns(language, ("what", "value"))
    facts = tuple(
        (Entry(language.say_or(f"machine.{key}", key)), Entry(_fact(key, value, language)))
        for key, value in report.header.machine.items()
    )
    versions = tuple(
        (Entry(name), Entry(version)) for name, version in report.header.versions.items()
    )
    return Section(
        "machine",
        language.say("heading.machine"),
        grids=(
            Table(heads, facts, words=frozenset({0, 1})),
            Table(heads, versions, words=frozenset({0, 1})),
        ),
    )


def _fact(key: str, value: Any, language: Language) -> str:
    if isinstance(value, bool):
        return language.say("cell.yes" if value else "cell.no")
    if key == "cgroup_quota_cores" and value is None:
        return language.say("cell.none")
    if value is None:
        return language.say("cell.unknown")
    if key == "memory_bytes":
        return figures.mebibytes(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{part} {_fact(part, told, language)}" for part, told in value.items())
    return str(value)
