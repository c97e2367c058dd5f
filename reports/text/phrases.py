"""Phrases of the answer: money, instances, objectives, ranges."""

from __future__ import annotations

from ..facts.costs import Range
from ..facts.points import Series
from ..facts.prices import Price
from ..facts.promises import broken_promise
from ..facts.scaling import Axis
from . import figures
from .language import Language
from .tables import load, stack

LARGE = {  # the units of large numbers, the largest first
    "en": ((10**6, "million"),),
    "zh": ((10**8, "hundred_million"), (10**4, "ten_thousand")),
}


def money(currency: str, value: float, language: Language) -> str:
    """Return an amount with its currency; cents only where there are some.

    >>> from .language import read_language
    >>> english = read_language("en")
    >>> money("CNY", 700.0, english), money("USD", 62.05, english), money("EUR", 2403.5, english)
    ('¥700', '$62.05', 'EUR 2,403.50')
    """
    return _of_currency(currency, _amount(value), language)


def month_range(currency: str, month: Range, language: Language) -> str:
    """Return the ends of a price in brackets; "" if they are equal."""
    if month.low == month.high:
        return ""
    return language.say("answer.range", ends=month_ends(currency, month, language))


def month_ends(currency: str, month: Range, language: Language) -> str:
    """Return the ends of a price, like ``¥700–1,400``."""
    ends = figures.between(_amount(month.low), _amount(month.high))
    return _of_currency(currency, ends, language)


def _amount(value: float) -> str:
    whole, cents = figures.amount(value).split(".")
    return f"{int(whole):,}" + (f".{cents}" if cents != "00" else "")


def _of_currency(currency: str, amount: str, language: Language) -> str:
    key = f"currency.{currency}"
    return language.say_or(key, language.say("currency.other", code=currency, amount=amount),
                           amount=amount)  # fmt: skip


def qps_range(figure: Range, language: Language) -> str:
    """Return the ends of a range of figures in brackets; "" if they are equal."""
    if figure.low == figure.high:
        return ""
    return language.say("answer.range", ends=figures.span(figure.low, figure.high))


def instances(count: int, language: Language) -> str:
    """Return a number of instances as a phrase."""
    return language.say("answer.instance" if count == 1 else "answer.instances", count=count)


def name(series: Series, language: Language) -> str:
    """Return a series' name: the variant alone behind the reference server."""
    variant, server = series
    if server == "reference":
        return variant
    return language.say("answer.name_stack", variant=variant, stack=stack(server, language))


def machine(price: Price, language: Language) -> str:
    """Return a priced machine's name: cloud and type."""
    return f"{language.known(price.cloud)} {language.known(price.type)}"


def origin(price: Price, language: Language) -> str:
    """Return where a price comes from, in a few words: of a quoted one whose words it is."""
    kind = language.say(f"kind.{price.kind}")
    source = language.known(price.source.title)
    return language.say_or(f"origin.{price.kind}", kind, source=source)


def promise(sentence: str, language: Language) -> str:
    """Return a broken promise of the gate in a language; as it was recorded if it is not known."""
    found = broken_promise(sentence)
    return language.say_or(f"promise.{found.code}", sentence, **(found.values or {}))


def large(count: float, language: Language) -> str:
    """Return a large number in the unit that a reader of the language counts in.

    >>> from .language import read_language
    >>> large(102_290_312, read_language("en")), large(102_290_312, read_language("zh"))
    ('102 million', '1.02 亿')
    """
    units = LARGE[language.code]
    scale, unit = next((each for each in units if count >= each[0]), units[-1])
    return language.say(f"large.{unit}", count=figures.significant(count / scale))


def percentile_name(rank: int) -> str:
    """Return a percentile's name, like P95."""
    return f"P{rank}"


def objective(rank: int, limit_ms: float, language: Language) -> str:
    """Return an objective as a phrase."""
    limit = figures.unrounded(limit_ms)
    return language.say("answer.objective", rank=percentile_name(rank), limit=limit)


def users_list(users: list[int], language: Language) -> str:
    """Return several numbers of users as a phrase."""
    if len(users) == 1:
        return language.count(users[0])
    return language.say("count.many", count=", ".join(map(str, users)))


def axis(along: Axis, language: Language) -> str:
    """Return a scaling axis's name, with the load that stays the same along it."""
    fixed = load(along.fixed, language) or language.say("scaling.plain")
    return language.say("scaling.caption", axis=language.say(f"axis.{along.name}"), fixed=fixed)
