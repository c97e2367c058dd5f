"""Sections: a report in one language as headings, paragraphs and grids of finished text.

HTML and Markdown are two ways to print the same sections, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import figures
from .bills import cost_grid, source_line
from .costs import SECONDS_PER_MONTH, cost
from .grids import Entry, Grid, columns, milliseconds, stack
from .language import Language
from .measured import point_grid, variant_grid
from .prices import HOURS_PER_MONTH
from .quoted import article_grid, claims_grid
from .report import Report
from .tables import Doubt
from .verdict import CLOSE_PERCENT, Verdict

LATENCY_SVG = "latency.svg"
COST_SVG = "cost.svg"
PER_COUNT = 1_000_000


@dataclass(frozen=True)
class Picture:
    """An SVG beside the page, and what it shows in words."""

    file: str
    alt: str


@dataclass(frozen=True)
class Section:
    """One part of a page, in the order: paragraphs, grids, pictures, items, small print."""

    id: str
    heading: str
    paragraphs: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    pictures: tuple[Picture, ...] = ()
    items: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One language's page; ``caveat`` is empty where the model needs none."""

    language: Language
    title: str
    lead: str
    caveat: str
    sections: tuple[Section, ...]
    footer: str


def page(report: Report, language: Language) -> Page:
    """Return the page of a report in one language."""
    header, say = report.header, language.say
    model, machine = header.model, header.machine
    title = language.pick(model, "title") or str(model.get("name") or language.words["untitled"])
    known = ("layers", "hidden", "heads", "intermediate", "vocabulary")
    lead = say(
        "page.lead",
        model=title,
        parameters=figures.significant(model["parameters"] / PER_COUNT),
        cpu=machine["cpu"],
        cores=report.bench.cores,
        runs=", ".join(run.header.run for run in report.runs),
        started=header.started,
        **{key: model.get(key, figures.NONE) for key in known},
    )
    caveat = language.pick(model, "caveat")
    sections = (
        verdict,
        measured,
        article,
        latency,
        costs_plot,
        variants,
        costs,
        machine_facts,
        method,
    )
    return Page(
        language,
        say("page.title", model=title),
        lead,
        say("page.caveat", caveat=caveat) if caveat else "",
        (*(make(report, language) for make in sections), warnings(report, language)),
        say("page.footer", tool=header.tool),
    )


def verdict(report: Report, language: Language) -> Section:
    """Say what to deploy, and what cannot be recommended."""
    found = report.verdict
    paragraph = language.join(verdict_sentences(report, language))
    refused = tuple(
        language.say(f"verdict.{refusal.reason}", variant=refusal.variant)
        for refusal in found.refusals
    )
    return Section("verdict", language.say("heading.verdict"), (paragraph,), items=refused)


def verdict_sentences(report: Report, language: Language) -> Iterator[str]:
    """Yield the verdict's sentences: what was chosen and how sure that is."""
    found, say = report.verdict, language.say
    point = found.chosen
    yield _headline(found, language)
    if point is None:
        return
    if point.ratio is not None and report.chosen_points:
        yield say("verdict.ratio", ratio=figures.significant(point.ratio))
    for price in report.yardsticks:
        if priced := cost(price, point.qps.median, report.bench):
            yield say(
                "verdict.cost",
                amount=figures.money(price.currency, priced.per_million),
                price=price.name,
                kind=say(f"kind.{price.kind}"),
                monthly=figures.monthly(price.currency, price.monthly),
            )
    gate = next(row.gate for row in report.variants if row.name == point.variant)
    if gate:
        yield say(
            "verdict.gate",
            hit1=figures.share(gate.hit_at_1),
            hit5=figures.share(gate.hit_at_5),
            agreement=figures.share(gate.top1_agreement),
        )
    for rival in found.rivals:
        yield say(
            "verdict.close",
            variant=rival.point.variant,
            stack=stack(rival.point.stack, language),
            percent=figures.percent(rival.percent, 1),
            users=language.count(rival.point.users),
            margin=figures.percent(CLOSE_PERCENT),
        )
    if point.doubts:
        yield say("verdict.doubtful", count=len(point.doubts))
    if point.valid_repeats == 1:
        yield say("verdict.single")


def _headline(found: Verdict, language: Language) -> str:
    point = found.chosen
    if point is None:
        return language.say("verdict.nothing")
    return language.say(
        "verdict.deploy" if found.within_limit else "verdict.beyond",
        variant=point.variant,
        stack=stack(point.stack, language),
        users=language.count(point.users),
        qps=figures.significant(point.qps.median),
        p95=milliseconds(point.p95_ms, language),
        limit=figures.given(found.limit_ms),
    )


def measured(report: Report, language: Language) -> Section:
    """Show every point: throughput, latency, CPU, memory, failures."""
    known = any(point.ratio is not None for point in report.points)
    notes = (
        language.say("measured.note", cores=report.bench.cores),
        language.say("measured.yardstick" if known else "measured.no_yardstick"),
    )
    heading = language.say("heading.measured")
    return Section("measured", heading, grids=(point_grid(report, language),), notes=notes)


def article(report: Report, language: Language) -> Section:
    """Show the article's table and claims, quoted, beside what was measured."""
    own, say = report.article, language.say
    notes = [say("article.quoted")]
    for row in own.implausible:
        notes.append(
            say(
                "article.implausible",
                users=language.count(row.users),
                qps=figures.given(row.qps),
                mean=figures.significant(row.mean_ms),
                p95=figures.given(row.p95_ms),
                tail=figures.significant(row.tail_ms),
            )
        )
    if not own.implausible:
        notes.append(say("article.plausible"))
    return Section(
        "article",
        say("heading.article"),
        (say("article.note", date=own.date, cores=own.cores, here=report.bench.cores),),
        (article_grid(report, language), claims_grid(report, language)),
        notes=tuple(notes),
    )


def _series_names(report: Report) -> str:
    return ", ".join(dict.fromkeys(" / ".join(point.series) for point in report.points))


def latency(report: Report, language: Language) -> Section:
    """Show the plot of latency against users."""
    alt = language.say("plot.latency_alt", series=_series_names(report))
    return Section(
        "latency",
        language.say("heading.latency"),
        pictures=(Picture(LATENCY_SVG, alt),),
        notes=(language.say("plot.latency_note"),),
    )


def costs_plot(report: Report, language: Language) -> Section:
    """Show the plot of cost against latency."""
    currency = report.yardsticks[0].currency if report.yardsticks else figures.NONE
    alt = language.say("plot.cost_alt", currency=currency, series=_series_names(report))
    prices = "; ".join(
        f"{price.name}, {language.say(f'kind.{price.kind}')},"
        f" {figures.monthly(price.currency, price.monthly)}"
        for price in report.yardsticks
    )
    return Section(
        "cost",
        language.say("heading.cost"),
        pictures=(Picture(COST_SVG, alt),),
        notes=(language.say("plot.cost_note", prices=prices or figures.NONE),),
    )


def variants(report: Report, language: Language) -> Section:
    """Show size, memory and gate of every variant."""
    gold = report.header.gold
    note = language.say(
        "variants.note",
        mebibyte=figures.MEBIBYTE,
        gold=gold.get("name", figures.NONE),
        items=gold.get("items", figures.NONE),
    )
    heading = language.say("heading.variants")
    return Section("variants", heading, grids=(variant_grid(report, language),), notes=(note,))


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
            Grid(heads, facts, words=frozenset({0, 1})),
            Grid(heads, versions, words=frozenset({0, 1})),
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
    return str(value)


def method(report: Report, language: Language) -> Section:
    """Say how the points were measured, so that they can be measured again."""
    header, say = report.header, language.say
    plan, gold, model = header.plan, header.gold, header.model
    levels = ", ".join(str(level) for level in sorted({point.users for point in report.points}))
    modes = dict.fromkeys(cell.mode for run in report.runs for cell in run.cells)
    seeds = ", ".join(str(run.header.seed) for run in report.runs)
    items = [
        say("method.closed" if mode == "closed" else "method.open", mode=mode, levels=levels)
        for mode in modes
    ]
    items += [
        say(
            "method.plan",
            plan=plan.get("name", figures.NONE),
            seconds=_given(plan.get("seconds")),
            warmup=_given(plan.get("warmup_seconds")),
            repeats=_given(plan.get("repeats")),
        ),
        say(
            "method.gold",
            gold=gold.get("name", figures.NONE),
            items=gold.get("items", figures.NONE),
            sha=str(gold.get("sha256", figures.NONE))[:12],
        ),
        say("method.order", seed=seeds),
        say(
            "method.model",
            name=model.get("name", figures.NONE),
            revision=model.get("revision") or figures.NONE,
            source=model.get("source") or figures.NONE,
        ),
        say("method.absolute"),
    ]
    return Section("method", say("heading.method"), items=tuple(items))


def _given(value: float | None) -> str:
    return figures.NONE if value is None else figures.given(value)


def warnings(report: Report, language: Language) -> Section:
    """List every reason to doubt a point, with what to try."""
    items = tuple(_warning(doubt, language) for point in report.points for doubt in point.doubts)
    calm = () if items else (language.say("warnings.none"),)
    return Section("warnings", language.say("heading.warnings"), calm, items=items)


def _warning(doubt: Doubt, language: Language) -> str:
    cell, warn = doubt.cell, doubt.warn
    values = {
        "wrong": cell.wrong,
        "failed": cell.failed,
        "total": len(cell.latencies_ms) + cell.failed + cell.wrong,
        "kinds": ", ".join(sorted(cell.failures)),
        "answers": len(cell.latencies_ms),
        "generator": f"{cell.generator_core_percent:.0f}",
        "other": f"{cell.other_cpu_percent:.0f}",
        "steal": f"{cell.steal_percent:.0f}",
        "inside": f"{cell.qps * cell.mean_ms / 1000:.2f}",
        "users": language.count(cell.users),
    }
    return language.say(
        "warnings.line",
        variant=cell.variant,
        stack=stack(cell.stack, language),
        users=language.count(cell.users),
        repeat=cell.repeat,
        seen=language.say_or(f"seen.{warn.code}", warn.seen, **values),
        advice=language.say_or(f"advice.{warn.code}", warn.advice),
        invalid=language.say("warnings.invalid") if warn.invalidates else "",
    )
