"""Tables of measured points; each column has a function that shows one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..facts.estimates import Estimate
from ..facts.points import MeasuredPoint
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Table, columns, load, shape, stack

Show = Callable[[MeasuredPoint, Language], Entry]

SPEEDS = ("qps", "goodput", "per_core", "ratio", "p50", "p90", "p95", "p99")
LOADS = ("server_cpu", "server_quota", "generator_cpu", "memory", "joules")
WRONGS = ("failures", "wrong", "warnings")
OPEN = ("rate", "qps", "goodput", "p50", "p95", "p99", "late", "server_cpu")
OTHERS = ("load", "sentences", "p50", "p95", "warnings")
SMALL = ("users", "qps", "ratio", "p95", "warnings")
WORDS = frozenset({"variant", "load", "warnings"})
OPTIONAL: Mapping[str, Callable[[MeasuredPoint], object]] = {  # shown if any point has a value
    "server_quota": lambda point: point.server_quota_percent,
    "joules": lambda point: point.joules_per_request,
}


def point_grid(report: Report, language: Language) -> Table:
    """Return every plain point: throughput, latency, CPU, memory, failures."""
    return grid(report.points, ("users", *SPEEDS, *LOADS, *WRONGS), language)


def open_grid(report: Report, language: Language) -> Table:
    """Return every open-loop point: intended rate, throughput, latency, lateness."""
    return grid(report.open_points, (*OPEN, *WRONGS), language)


def small_grid(report: Report, language: Language) -> Table:
    """Return the plain points in few columns, or all other points if there is no plain one."""
    if report.points:
        return grid(report.points, SMALL, language)
    return grid(
        (*report.open_points, *report.scaling.points, *report.scaling.others), OTHERS, language
    )


def other_grid(points: Sequence[MeasuredPoint], language: Language) -> Table:
    """Return points of any load in few columns."""
    return grid(points, OTHERS, language, language.say("scaling.others"))


def grid(
    points: Sequence[MeasuredPoint],
    keys: Sequence[str],
    language: Language,
    caption: str = "",
    more: Mapping[str, Show] | None = None,
) -> Table:
    """Return points as rows with the columns ``keys`` after the variant; ``more`` adds columns."""
    shows = {**_SHOWS, **(more or {})}
    keys = [
        key
        for key in ("variant", *keys)
        if key not in OPTIONAL or any(OPTIONAL[key](point) is not None for point in points)
    ]
    rows = tuple(tuple(shows[key](point, language) for key in keys) for point in points)
    words = frozenset(place for place, key in enumerate(keys) if key in WORDS)
    return Table(columns(language, keys), rows, caption, words)


def estimate(estimated: Estimate) -> Entry:
    """Return a value with its interval as small print."""
    return Entry(
        figures.significant(estimated.value),
        figures.span(*estimated.ends) if estimated.ends else "",
    )


def repeats(point: MeasuredPoint, language: Language) -> str:
    """Return how many repeats there are and how many are valid; "" for a single repeat."""
    if point.repeats == 1:
        return ""
    if point.valid_repeats == point.repeats:
        return language.say("cell.repeats_all", repeats=point.repeats)
    return language.say("cell.repeats", valid=point.valid_repeats, repeats=point.repeats)


def _latency(name: str) -> Show:
    def show(point: MeasuredPoint, language: Language) -> Entry:
        latency: Estimate | None = getattr(point, name)
        if latency is None:
            return Entry(language.say("cell.too_few"), tone="muted")
        return estimate(latency)

    return show


def _number(
    measure: Callable[[MeasuredPoint], float | None], format_value: Callable[[float], str]
) -> Show:
    def show(point: MeasuredPoint, _language: Language) -> Entry:
        value = measure(point)
        return Entry(figures.NONE, tone="muted") if value is None else Entry(format_value(value))

    return show


def _count(count: Callable[[MeasuredPoint], int]) -> Show:
    def show(point: MeasuredPoint, _language: Language) -> Entry:
        return Entry(str(count(point)), tone="bad" if count(point) else "")

    return show


def _variant(point: MeasuredPoint, language: Language) -> Entry:
    """Return a point's name; an invalid one is marked here too: this column stays in view."""
    place = stack(point.stack, language)
    if point.valid:
        return Entry(point.variant, place)
    notes = (place, language.say("cell.invalid"))
    return Entry(point.variant, str(language.words["list"]).join(notes), "bad")


def _rate(point: MeasuredPoint, language: Language) -> Entry:
    notes = [*shape(point.load, language), repeats(point, language)]
    note = str(language.words["list"]).join(part for part in notes if part)
    return Entry(figures.unrounded(point.load.rate or 0), note)


def _late(point: MeasuredPoint, language: Language) -> Entry:
    if point.late_p99_ms is None:
        return Entry(language.say("cell.too_few"), tone="muted")
    return Entry(figures.significant(point.late_p99_ms))


def _warnings(point: MeasuredPoint, language: Language) -> Entry:
    codes = ", ".join(dict.fromkeys(doubt.warn.code for doubt in point.doubts))
    invalid = "" if point.valid else language.say("cell.invalid")
    return Entry(codes or figures.NONE, invalid, tone="bad" if codes else "muted")


_SHOWS: Mapping[str, Show] = {
    "variant": _variant,
    "users": lambda point, language: Entry(str(point.users), repeats(point, language)),
    "rate": _rate,
    "load": lambda point, language: Entry(load(point.load, language), repeats(point, language)),
    "qps": lambda point, _: estimate(point.qps),
    "sentences": lambda point, _: estimate(point.sentences),
    "goodput": _number(lambda point: point.goodput, figures.significant),
    "per_core": _number(lambda point: point.qps_per_core, figures.significant),
    "ratio": _number(lambda point: point.ratio, figures.significant),
    "p50": _latency("p50_ms"),
    "p90": _latency("p90_ms"),
    "p95": _latency("p95_ms"),
    "p99": _latency("p99_ms"),
    "late": _late,
    "server_cpu": _number(lambda point: point.server_cpu_percent, figures.percent),
    "server_quota": _number(lambda point: point.server_quota_percent, figures.percent),
    "generator_cpu": _number(lambda point: point.generator_cpu_percent, figures.percent),
    "memory": _number(lambda point: point.resident_bytes, figures.mebibytes),
    "joules": _number(lambda point: point.joules_per_request, figures.significant),
    "failures": _count(lambda point: point.failures),
    "wrong": _count(lambda point: point.wrong),
    "warnings": _warnings,
}
