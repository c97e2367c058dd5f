"""The method in words, so that the measurement can be repeated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Section

GEOMETRY = ("layers", "hidden", "heads", "intermediate", "vocabulary")


def method(report: Report, language: Language) -> Section:
    """Say how the points were measured, so that they can be measured again."""
    header, say = report.header, language.say
    gold, model = header.gold, header.model
    items = [*_modes(report, language)]
    plans = [run.header.plan for run in report.shown_runs]
    items += dict.fromkeys(_plan(plan, language) for plan in plans)
    items += [
        say(
            "method.gold",
            gold=gold.get("name", figures.NONE),
            items=gold.get("items", figures.NONE),
            sha=str(gold.get("sha256", figures.NONE))[:12],
        ),
        say("method.order", seed=language.listed(run.header.seed for run in report.shown_runs)),
        say(
            "method.model",
            name=model.get("name", figures.NONE),
            revision=model.get("revision") or figures.NONE,
            source=model.get("source") or figures.NONE,
            **{key: model.get(key, figures.NONE) for key in GEOMETRY},
        ),
        say("method.absolute"),
    ]
    gist = say("gist.method", plans=language.listed(_names(plans)))
    return Section("method", say("heading.method"), items=tuple(items), gist=gist)


def _names(plans: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return dict.fromkeys(str(plan.get("name", figures.NONE)) for plan in plans)


def _modes(report: Report, language: Language) -> Iterator[str]:
    loads = [point.load for point in report.shown_points]
    levels = sorted({load.users for load in loads if not load.is_open})
    rates = sorted({load.rate for load in loads if load.rate is not None})
    if levels:
        yield language.say("method.closed", levels=language.listed(levels))
    if rates:
        yield language.say("method.open", rates=language.listed(map(figures.unrounded, rates)))
    if any(load.shaped for load in loads):
        yield language.say("method.shaped")


def _plan(plan: Mapping[str, Any], language: Language) -> str:
    return language.say(
        "method.plan",
        plan=plan.get("name", figures.NONE),
        seconds=_or_dash(plan.get("seconds")),
        warmup=_or_dash(plan.get("warmup_seconds")),
        repeats=_or_dash(plan.get("repeats")),
    )


def _or_dash(value: float | None) -> str:
    return figures.NONE if value is None else figures.unrounded(value)
