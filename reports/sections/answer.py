"""The answer in words: what to deploy, how sure that is, what else it would cost, the command.

The explorer on the page says the same in the reader's browser (``templates/explorer.js``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...toolkit.runs.load import REFERENCE_STACK, TARGET_STACK
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import is_valid
from ..facts.answer import Answer
from ..facts.candidates import Candidate, Reason
from ..facts.capacity import Capacity, percentile_of
from ..facts.costs import MeasuredMachine, Range, threads_ratio
from ..facts.estimates import CONFIDENCE_PERCENT
from ..facts.points import MeasuredPoint
from ..facts.prices import Price
from ..facts.question import Question
from ..facts.report import Report
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Card, Line
from .cautions import cautions, gpu

BUNDLE_FOLDER = "deploy"
EDGE = 0.95  # of what the instances are planned for: beyond it they are full
MOST_REASONS = 3  # in the headline; the table of candidates has them all


def card(report: Report, language: Language) -> Card:
    """Return the answer to a report's question in one language."""
    return Card(
        report.answer.status,
        headline(report, language),
        tuple(_lines(report, language)),
        tuple(_commands(report)),
        language.pick(report.header.model, "caveat"),
    )


def sentences(report: Report, language: Language) -> list[str]:
    """Return the card as sentences, without commands and caveat."""
    return [headline(report, language), *(line.text for line in _lines(report, language))]


def headline(report: Report, language: Language) -> str:
    """Return the answer in one or two sentences."""
    found, say = report.answer, language.say
    if not report.points and not report.searches:
        return say("answer.no_plain")
    asked = found.question
    goal = phrases.objective(asked.rank, asked.limit_ms, language)
    if found.leading is None:
        return _headline_without(found, goal, language)
    load = asked_load(asked)
    offer = _offer(found, found.leading, language)
    if found.status == "tie":
        tie = say("answer.tie", load=load, objective=goal, offer=offer)
        return language.join((tie, _tie(found, language)))
    if found.status == "decided":
        return say("answer.decided", load=load, objective=goal, offer=offer)
    return language.join(
        (
            say("answer.undecided", reasons=_reasons(found, language)),
            say("answer.so_far", load=load, objective=goal, offer=offer),
        )
    )


def asked_load(asked: Question) -> str:
    """Return a question's load: as the reader wrote it, rounded where it is the default."""
    load = asked.load or 0.0
    return figures.unrounded(load) if "load" in asked.stated else figures.significant(load)


def _headline_without(found: Answer, goal: str, language: Language) -> str:
    say, closest = language.say, found.closest
    told: dict[str, Any] = {}
    if closest is not None:
        latency = percentile_of(closest, found.question.rank)
        assert latency is not None
        told = {
            "name": phrases.name(closest.series, language),
            "rank": phrases.percentile_name(found.question.rank),
            "value": figures.significant(latency.value),
            "users": language.count(closest.users),
        }
    if found.status == "nothing-holds":
        return say("answer.nothing_holds", objective=goal, **told)
    key = "answer.nothing" if found.status == "nothing" else "answer.undecided"
    first = say(key, reasons=_reasons(found, language))
    return language.join((first, say("answer.closest", **told))) if told else first


def _offer(found: Answer, leading: Candidate, language: Language) -> str:
    """Return what to rent: of tied candidates either, one by one where their numbers differ."""
    every = (leading, *found.tied)
    if len({one.instances and one.instances[0] for one in every}) == 1:
        return _offered(found, leading, every, language)
    offers = (_offered(found, one, (one,), language) for one in every)
    return language.say("answer.or_offer").join(offers)


def _offered(found: Answer, each: Candidate, named: Sequence[Candidate], language: Language) -> str:
    asked = found.question
    assert each.instances is not None
    count = phrases.instances(each.instances[0], language)
    name = language.say("answer.or").join(phrases.name(one.series, language) for one in named)
    if asked.price is None or each.monthly is None:
        return language.say("answer.offer_unpriced", instances=count, name=name)
    machine = language.say(
        "answer.machine",
        machine=phrases.machine(asked.price, language),
        vcpu=asked.price.vcpu or figures.NONE,
    )
    return language.say(
        "answer.offer",
        instances=count,
        name=name,
        machine=machine,
        month=phrases.money(asked.price.currency, each.monthly.value, language),
        range=phrases.month_range(asked.price.currency, each.monthly, language),
    )


def _tie(found: Answer, language: Language) -> str:
    """Say that the difference may be chance, and which one has the lower percentile."""
    assert found.leading is not None
    mine = found.leading.percentile_ms
    others = [each.percentile_ms for each in found.tied if each.percentile_ms is not None]
    if mine is None or not others or mine >= min(others):
        return language.say("answer.close")
    return language.say(
        "answer.close_lower",
        variant=phrases.name(found.leading.series, language),
        rank=phrases.percentile_name(found.question.rank),
        value=figures.significant(mine),
        other=figures.significant(min(others)),
    )


def _reasons(found: Answer, language: Language) -> str:
    told = (reason(each, found.question.rank, language) for each in found.reasons)
    every = list(dict.fromkeys(told))
    shown = every if len(every) <= MOST_REASONS + 1 else every[:MOST_REASONS]
    if len(shown) < len(every):
        shown.append(language.say("answer.more", count=len(every) - len(shown)))
    return language.say("answer.because").join(shown)


def reason(each: Reason, rank: int, language: Language) -> str:
    """Return one reason against a decision as a phrase."""
    about: dict[str, Any] = dict(each.about)
    if "stack" in about:
        about["name"] = phrases.name((about["variant"], about.pop("stack")), language)
    if "users" in about:
        about["users"] = phrases.users_list(about["users"], language)
    if "reasons" in about:
        told = (phrases.promise(sentence, language) for sentence in about["reasons"])
        about["reasons"] = str(language.words["list"]).join(told)
    for key in ("value", "high"):
        if key in about:
            about[key] = figures.significant(about[key])
    return language.say(f"reason.{each.code}", **{"rank": phrases.percentile_name(rank), **about})


def _lines(report: Report, language: Language) -> Iterator[Line]:
    found = report.answer
    leading = found.leading
    if found.question.without:
        names = str(language.words["list"]).join(found.question.without)
        yield _line("left", names, language)
    if leading is not None and leading.capacity is not None:
        told = language.join(_sure(found, leading, leading.capacity, language))
        yield _line("sure", told, language)
        if found.runner_up is not None:
            yield _line(
                "runner_up", _runner_up(found, leading, found.runner_up, language), language
            )
        if text := gpu(report, language):
            yield _line("gpu", text, language)
        for text in cautions(report, language):
            yield _line("mind", text, language)
        yield _line(
            "assumed", language.join(_assumed(found, leading, report.bench, language)), language
        )
        point = leading.capacity.point
        if point is not None and (settings := settings_in_force(report, point)):
            yield _line("settings", settings, language)
    if leading is not None:  # else the headline says it
        for text in _refused(found, language):
            yield _line("refused", text, language)
    yield _line("cells", _cells(report, language), language)


def _line(key: str, text: str, language: Language) -> Line:
    return Line(key, language.say(f"line.{key}"), text)


def _refused(found: Answer, language: Language) -> Iterator[str]:
    """Say which variants are measured but not recommended, and why."""
    for each in {each.variant: each for each in found.candidates if each.refusal}.values():
        yield language.say(f"refused.{each.refusal}", variant=each.variant)


def _sure(
    found: Answer, leading: Candidate, capacity: Capacity, language: Language
) -> Iterator[str]:
    """Say what the leading capacity rests on, and how it lies to those of the others."""
    say = language.say
    name = phrases.name(leading.series, language)
    told = {"name": name, "qps": figures.significant(capacity.qps.value),
            "qps_range": phrases.qps_range(capacity.qps, language)}  # fmt: skip
    rank, limit = found.question.rank, found.question.limit_ms
    if capacity.search is not None:
        mode = say("sure.open" if capacity.search.rate is not None else "sure.closed")
        yield say("sure.search", repeats=capacity.search.repeats, mode=mode, **told)
    elif capacity.point is not None:
        latency = percentile_of(capacity.point, rank)
        assert latency is not None
        ends = latency.ends or (latency.value, latency.value)
        yield say(
            "sure.level",
            users=language.count(capacity.point.users),
            rank=phrases.percentile_name(rank),
            value=figures.significant(latency.value),
            latency_range=phrases.qps_range(Range(latency.value, *ends), language),
            **told,
        )
        if latency.high is not None:
            margin = figures.percent((1 - latency.high / limit) * 100)
            yield say("sure.margin", rank=phrases.percentile_name(rank), margin=margin)
    yield from _against(found, capacity, language)


def _against(found: Answer, capacity: Capacity, language: Language) -> Iterator[str]:
    """Say how the leading capacity lies to those of the others."""
    if found.tied:
        others = language.say("answer.or").join(
            phrases.name(each.series, language) for each in found.tied
        )
        yield language.say("sure.overlap", others=others)
    other = found.runner_up
    if other is None and not found.tied and not found.reasons:
        yield language.say("sure.alone_left" if found.question.without else "sure.alone")
    if other is None or other.capacity is None or found.tied:
        return
    figure = other.capacity.qps
    if capacity.bounded and other.capacity.bounded and figure.high < capacity.qps.low:
        yield language.say(
            "sure.apart",
            other=phrases.name(other.series, language),
            low=figures.significant(figure.low),
            high=figures.significant(figure.high),
        )


def _runner_up(found: Answer, leading: Candidate, other: Candidate, language: Language) -> str:
    assert other.instances is not None
    told = {
        "name": phrases.name(other.series, language),
        "instances": phrases.instances(other.instances[0], language),
    }
    price = found.question.price
    if price is None or other.monthly is None:
        return language.say("runner_up.unpriced", **told)
    if other.instances[0] == leading.instances[0] if leading.instances else False:
        assert other.each is not None
        assert leading.each is not None
        less = figures.significant(leading.each.value - other.each.value)
        return language.say("runner_up.same", qps=less, **told)
    return language.say(
        "runner_up.dearer",
        month=phrases.money(price.currency, other.monthly.value, language),
        range=phrases.month_range(price.currency, other.monthly, language),
        **told,
    )


def _assumed(
    found: Answer, leading: Candidate, bench: MeasuredMachine, language: Language
) -> Iterator[str]:
    asked, say = found.question, language.say
    if "slo" not in asked.stated:
        yield say("assumed.objective_default", rank=phrases.percentile_name(asked.rank))
    load = "load_tied" if found.tied else "load_default"
    yield say("assumed.load_given" if "load" in asked.stated else f"assumed.{load}")
    if edge := _edge(asked, leading, language):
        yield edge
    if asked.price is None:
        return
    yield say(
        "assumed.terms",
        headroom=figures.percent(asked.headroom * 100),
        instances=phrases.instances(asked.instances, language),
        month=_each(asked.price, language),
        kind=say(f"kind.{asked.price.kind}"),
        source=language.known(asked.price.source.title),
    )
    if leading.per_million is not None:
        currency, million = asked.price.currency, leading.per_million
        yield say(
            "assumed.million",
            million=phrases.money(currency, million.value, language),
            range=phrases.month_range(currency, million, language),
            utilisation=figures.percent(asked.utilisation * 100),
        )
    if leading.capacity is not None and leading.capacity.bounded:
        widened = asked.price is not None and threads_ratio(asked.price, bench) != 1
        key = "sure.intervals_widened" if widened else "sure.intervals"
        yield say(key, level=figures.percent(CONFIDENCE_PERCENT))


def _edge(asked: Question, leading: Candidate, language: Language) -> str:
    """Say that a little more load needs another instance; "" where there is room."""
    if leading.each is None or leading.instances is None or asked.load is None:
        return ""
    count = leading.instances[0]
    share = asked.load / (count * leading.each.value)
    if share < EDGE:
        return ""
    told = figures.percent(min(share, 1.0) * 100)
    return language.say("assumed.edge", share=told, instances=phrases.instances(count, language))


def _each(price: Price, language: Language) -> str:
    """Return the price of one instance: "about" where several are no multiple of its cents."""
    month = phrases.money(price.currency, price.monthly, language)
    if float(figures.amount(price.monthly)) == round(price.monthly, 6):
        return month
    return language.say("assumed.about", month=month)


def _cells(report: Report, language: Language) -> str:
    cells = [cell for run in report.runs for cell in run.cells]
    counts = {"measured": len(cells), "valid": sum(is_valid(cell) for cell in cells)}
    plan = report.planned.cells
    sentences = [language.say("sure.cells_unplanned", **counts)]
    if plan and not report.scaling.axes and not report.open_points:
        sentences = [language.say("sure.cells", planned=plan, **counts)]
    broken = sum(not point.valid for point in report.every_point)
    if broken:
        key = "sure.broken" if broken == 1 else "sure.broken_many"
        sentences.append(language.say(key, count=broken))
    return language.join(sentences)


def _commands(report: Report) -> Iterator[str]:
    leading = report.answer.leading
    if leading is None or leading.stack == TARGET_STACK:  # nobody here knows how that was started
        return
    model = str(report.header.model.get("name"))
    words = ["tiankong", "serve", "--model", model, "--variant", leading.variant]
    if leading.stack != REFERENCE_STACK:
        words += ["--stack", leading.stack]
    yield shlex.join(words)
    if leading.stack == REFERENCE_STACK:
        yield shlex.join(["tiankong", "bundle", leading.variant, BUNDLE_FOLDER, "--model", model])


def settings_in_force(report: Report, point: MeasuredPoint) -> str:
    """Return the server settings in force when a point was measured, like ``streams=2``."""
    return every_settings(report).get(point.key, "")


def every_settings(report: Report) -> dict[Point, str]:
    """Return the settings in force at each point that tells, as :func:`settings_in_force` does."""
    found: dict[Point, Mapping[str, Any]] = {}
    for run in report.runs:
        for cell in run.cells:
            if cell.settings:
                found.setdefault(cell.point.gathered, cell.settings)
    return {
        key: ", ".join(f"{name}={_setting(value)}" for name, value in settings.items())
        for key, settings in found.items()
    }


def _setting(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
