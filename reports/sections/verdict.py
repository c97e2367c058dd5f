"""The verdict in words: what to deploy, how sure that is, and what cannot be recommended."""

from __future__ import annotations

from collections.abc import Iterator

from ...toolkit.runs.validity import is_valid
from ..facts.costs import cost
from ..facts.estimates import CONFIDENCE_PERCENT
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..facts.verdict import CLOSE_PERCENT, Rival, Verdict
from ..text import figures
from ..text.language import Language
from ..text.tables import Section, milliseconds, stack


def verdict(report: Report, language: Language) -> Section:
    """Say what to deploy, how many cells are valid, and what cannot be recommended."""
    paragraph = language.join(verdict_sentences(report, language))
    refused = tuple(
        language.say(f"verdict.{refusal.reason}", variant=refusal.variant)
        for refusal in report.verdict.refusals
    )
    counts = language.join(validity_sentences(report, language))
    return Section("verdict", language.say("heading.verdict"), (paragraph, counts), items=refused)


def verdict_sentences(report: Report, language: Language) -> Iterator[str]:
    """Yield the verdict's sentences: what was chosen and how sure that is."""
    outcome, say = report.verdict, language.say
    if not report.points:
        yield say("verdict.no_plain")
        return
    point = outcome.chosen
    yield _headline(outcome, language)
    if point is None:
        return
    if point.ratio is not None and report.chosen_points:
        yield say("verdict.ratio", ratio=figures.significant(point.ratio))
    for price in report.yardsticks:
        if priced := cost(price, point.qps.value, report.bench):
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
            top5=figures.share(gate.top5_agreement),
            order=figures.share(gate.order_agreement),
        )
    for rival in outcome.rivals:
        yield _close(rival, language)
    yield from _confidence(point, language)


def _headline(outcome: Verdict, language: Language) -> str:
    point = outcome.chosen
    if point is None:
        at_chance = any(refusal.reason == "at-chance" for refusal in outcome.refusals)
        return language.say("verdict.nothing_known" if at_chance else "verdict.nothing")
    return language.say(
        "verdict.deploy" if outcome.within_limit else "verdict.beyond",
        variant=point.variant,
        stack=stack(point.stack, language),
        users=language.count(point.users),
        qps=figures.significant(point.qps.value),
        p95=milliseconds(point.p95_ms, language),
        limit=figures.unrounded(outcome.limit_ms),
    )


def _close(rival: Rival, language: Language) -> str:
    say = language.say
    name = say(
        "verdict.rival",
        variant=rival.point.variant,
        stack=stack(rival.point.stack, language),
        users=language.count(rival.point.users),
        percent=figures.percent(max(rival.percent, 0.0), 1),
    )
    if rival.overlapping:
        return say("verdict.overlapping", rival=name, level=figures.percent(CONFIDENCE_PERCENT))
    return say("verdict.close", rival=name, margin=figures.percent(CLOSE_PERCENT))


def _confidence(point: MeasuredPoint, language: Language) -> Iterator[str]:
    if point.qps.ends:
        yield language.say(
            "verdict.interval",
            level=figures.percent(CONFIDENCE_PERCENT),
            span=figures.span(*point.qps.ends),
        )
    if point.doubts:
        yield language.say("verdict.doubtful", count=len(point.doubts))
    if point.valid_repeats == 1:
        yield language.say("verdict.single")


def validity_sentences(report: Report, language: Language) -> Iterator[str]:
    """Yield how many cells are valid, and how many points have no valid cell."""
    cells = [cell for run in report.runs for cell in run.cells]
    valid = sum(is_valid(cell) for cell in cells)
    yield language.say("validity.cells", valid=valid, cells=len(cells))
    broken = sum(not point.valid for point in report.every_point)
    if broken:
        yield language.say("validity.none_one" if broken == 1 else "validity.none", count=broken)
