"""The decision: an answer in the few words that fit on a card."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts.answer import Answer
from ..facts.candidates import Candidate
from ..facts.capacity import Capacity, percentile_of
from ..facts.costs import Range
from ..facts.report import Report
from ..text import figures, phrases
from ..text.decision import Decision
from ..text.language import Language
from .answer import asked_load, headline, reason

MOST_REASONS = 3  # a card has no room for more; the page has them all
DATE = len("2026-01-01")  # of a time in ISO 8601


def decision(report: Report, language: Language) -> Decision:
    """Return the answer to a report's question as a decision."""
    found, header = report.answer, report.header
    date = header.started[:DATE]
    return Decision(
        language.tag,
        language.say("card.brand"),
        found.status,
        standing_words(report, language),
        _choice(report, language),
        tuple(_terms(report, language)),
        tuple((language.say(f"label.{key}"), text) for key, text in _rows(report, language)),
        language.say("card.footer", tool=header.tool, date=date),
        headline(report, language),
    )


def standing_words(report: Report, language: Language) -> str:
    """Return how a report stands with its answer, in a few words."""
    return language.say(f"status.{'empty' if _is_empty(report) else report.answer.status}")


def _is_empty(report: Report) -> bool:
    return not report.points and not report.searches


def _objective(report: Report, language: Language) -> str:
    return phrases.objective(report.question.rank, report.question.limit_ms, language)


def _choice(report: Report, language: Language) -> str:
    found, say = report.answer, language.say
    if _is_empty(report):
        return say("card.none")
    if found.status == "nothing-holds":
        return say("card.nothing_holds", objective=_objective(report, language))
    if found.status in ("nothing", "undecided") or found.leading is None:
        return say("card.nothing" if found.status == "nothing" else "card.undecided")
    return _instances(found, found.leading, language)


def _instances(found: Answer, each: Candidate, language: Language) -> str:
    """Return how many instances of what; of a tie, of either."""
    every = (each, *found.tied) if each is found.leading else (each,)
    names = [phrases.name(one.series, language) for one in every]
    joined = language.say("answer.or")
    if len({one.instances and one.instances[0] for one in every}) == 1:
        return _choice_of(each, joined.join(names), language)
    choices = (_choice_of(*one, language) for one in zip(every, names, strict=True))
    return joined.join(choices)


def _choice_of(each: Candidate, name: str, language: Language) -> str:
    return language.say("card.choice", count=each.instances[0] if each.instances else 0, name=name)


def _terms(report: Report, language: Language) -> Iterator[str]:
    """Yield the lines under the choice: what it costs, on which machine, for which load."""
    found, say = report.answer, language.say
    goal = _objective(report, language)
    if found.leading is None:
        if not _is_empty(report) and found.status != "nothing-holds":  # else the choice says it
            yield say("card.goal_asked", objective=goal)
        return
    if found.status == "undecided":
        yield say("card.so_far", choice=_instances(found, found.leading, language))
    price = report.question.price
    if price is None or found.leading.monthly is None:
        yield say("card.unpriced")
    else:
        yield _price(report, found.leading, language)
        vcpu = price.vcpu or figures.NONE
        yield say("answer.machine", machine=phrases.machine(price, language), vcpu=vcpu)
    load = asked_load(report.question)
    yield say("card.goal", load=load, objective=goal)


def _price(report: Report, each: Candidate, language: Language) -> str:
    assert report.question.price is not None
    assert each.monthly is not None
    currency = report.question.price.currency
    return language.say(
        "card.price",
        month=phrases.money(currency, each.monthly.value, language),
        range=phrases.month_range(currency, each.monthly, language),
    )


def _rows(report: Report, language: Language) -> Iterator[tuple[str, str]]:
    found = report.answer
    if _is_empty(report):
        yield "why", language.say("answer.no_plain")
    elif why := _why(found, language):
        yield "why", why
    if found.leading is not None and found.leading.capacity is not None:
        yield "sure", _sure(found, found.leading.capacity, language)
    if found.runner_up is not None:
        choice = _instances(found, found.runner_up, language)
        if found.runner_up.monthly is None:
            yield "runner_up", language.say("card.runner_up_unpriced", choice=choice)
        else:
            month = _price(report, found.runner_up, language)
            yield "runner_up", language.say("card.runner_up", choice=choice, price=month)
    if found.closest is not None and (latency := percentile_of(found.closest, found.question.rank)):
        yield (
            "closest",
            language.say(
                "card.closest",
                name=phrases.name(found.closest.series, language),
                rank=phrases.percentile_name(found.question.rank),
                value=figures.significant(latency.value),
                users=language.count(found.closest.users),
            ),
        )
    if found.leading is not None and (price := report.question.price) is not None:
        yield (
            "terms",
            language.say(
                "card.terms",
                headroom=figures.percent(report.question.headroom * 100),
                instances=phrases.instances(report.question.instances, language),
                kind=phrases.origin(price, language),
            ),
        )
    model, machine = report.header.model, report.header.machine
    yield (
        "measured",
        language.say(
            "card.measured",
            model=language.pick(model, "title") or str(model.get("name")),
            cpu=machine["cpu"],
            cores=report.bench.cores,
        ),
    )


def _why(found: Answer, language: Language) -> str:
    """Return the first reasons against a decision, and how many more there are."""
    rank = found.question.rank
    told = list(dict.fromkeys(reason(each, rank, language) for each in found.reasons))
    more = len(told) - MOST_REASONS
    if more > 0:
        told = [*told[:MOST_REASONS], language.say("card.more", more=more)]
    return language.say("card.and").join(told)


def _sure(found: Answer, capacity: Capacity, language: Language) -> str:
    """Return what the leading capacity rests on, in one phrase."""
    return language.say("card.and").join(_grounds(found, capacity, language))


def _grounds(found: Answer, capacity: Capacity, language: Language) -> Iterator[str]:
    say, asked = language.say, found.question
    told = {
        "qps": figures.significant(capacity.qps.value),
        "qps_range": phrases.qps_range(capacity.qps, language),
    }
    if capacity.search is not None:
        yield say("card.search", repeats=capacity.search.repeats, **told)
    elif capacity.point is not None and (latency := percentile_of(capacity.point, asked.rank)):
        ends = latency.ends or (latency.value, latency.value)
        rank = phrases.percentile_name(asked.rank)
        yield say(
            "card.level",
            rank=rank,
            value=figures.significant(latency.value),
            latency_range=phrases.qps_range(Range(latency.value, *ends), language),
            users=language.count(capacity.point.users),
            **told,
        )
        if latency.high is not None:
            margin = figures.percent((1 - latency.high / asked.limit_ms) * 100)
            yield say("card.margin", rank=rank, margin=margin)
    if found.tied:
        yield say("card.overlap")
    elif found.runner_up is None and not found.reasons:
        yield say("card.alone")
