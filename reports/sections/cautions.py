"""Cautions: what may make the answer better, worse or dearer than it looks; what a GPU may do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from ..facts.answer import Answer
from ..facts.candidates import by_interval
from ..facts.costs import accelerators, fits
from ..facts.prices import GIVEN, Price
from ..facts.question import price_key
from ..facts.report import Report
from ..text import figures, phrases
from ..text.language import Language


def cautions(report: Report, language: Language) -> Iterator[str]:
    """Say what may make the answer better or worse than it looks."""
    found = report.answer
    for note in found.notes:
        about = {key: figures.significant(note.about[key]) for key in ("value", "high")}
        series = (note.about["variant"], note.about["stack"])
        yield language.say(
            "sure.hope",
            name=phrases.name(series, language),
            users=phrases.users_list(note.about["users"], language),
            rank=phrases.percentile_name(found.question.rank),
            **about,
        )
    if text := _another_price(report, language):
        yield text
    if told := tuple(_spread(report, language)):
        yield language.join(told)


def _another_price(report: Report, language: Language) -> str:
    """Say which other price the machine has, and how it is asked for; "" if it has none."""
    price = report.answer.question.price
    if price is None or price.kind == GIVEN:
        return ""
    fitting = [each for each in report.prices if fits(each, report.bench)]
    for other in fitting:
        key = price_key(other, fitting)
        if key and other is not price and other.name == price.name:
            return language.say(
                "sure.another",
                kind=phrases.origin(price, language),
                **_choice("--price", other, key, language),
            )
    return ""


def _choice(option: str, other: Price, key: str, language: Language) -> dict[str, str]:
    return {
        "month": phrases.money(other.currency, other.monthly, language),
        "other": phrases.origin(other, language),
        "option": shlex.join((option, key)),
    }


def _spread(report: Report, language: Language) -> Iterator[str]:
    """Say why it may take another number of instances: each cause with what it alone does."""
    found = report.answer
    leading, price = found.leading, found.question.price
    if price is None or leading is None or leading.instances is None:
        return
    _, least, most = by_interval(leading, found.question, report.bench)
    if least < most:
        yield language.say("sure.spread", instances=_instances(least, most, language))
    if most < leading.instances[2]:
        count = phrases.instances(leading.instances[2], language)
        yield language.say("sure.threads", instances=count)


def _instances(least: int, most: int, language: Language) -> str:
    return language.say("answer.instances", count=figures.between(str(least), str(most)))


def gpu(report: Report, language: Language) -> str:
    """Say when a machine with an accelerator pays; "" if none is comparable."""
    found = report.answer.accelerator
    if found is None:
        return ""
    told = _gpu_pays(report.answer, language)
    price = found.price
    if price.kind == GIVEN:
        return told
    able = accelerators(report.prices, price.currency)
    for other in able:
        is_same = (other.cloud, other.accelerator) == (price.cloud, price.accelerator)
        key = price_key(other, able)
        if key and is_same and other.kind != price.kind:
            choice = _choice("--gpu-price", other, key, language)
            return language.join((told, language.say("gpu.another", **choice)))
    return told


def _gpu_pays(found: Answer, language: Language) -> str:
    other = found.accelerator
    assert other is not None
    told = {
        "accelerator": other.price.accelerator,
        "month": phrases.money(other.price.currency, other.price.monthly, language),
        "kind": phrases.origin(other.price, language),
    }
    if other.measured is None:
        return language.say("gpu.bound", load=figures.significant(other.up_to), **told)
    told["qps"] = figures.significant(other.measured.value)
    told["range"] = phrases.qps_range(other.measured, language)
    if other.pays_above is None:
        return language.say("gpu.never", **told)
    return language.say("gpu.pays", load=figures.significant(other.pays_above), **told)
