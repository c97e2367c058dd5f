"""Tables of measured points; each column has a function that shows one point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote

from ..facts.capacity import keeps, percentile_of, surely_keeps
from ..facts.estimates import CONFIDENCE_PERCENT, Estimate
from ..facts.points import Doubt, MeasuredPoint, Series
from ..facts.report import Report
from ..text import figures, phrases
from ..text.language import Language
from ..text.tables import Badge, Entry, Section, Table, columns, load, shape, stack

Show = Callable[[MeasuredPoint, Language], Entry]

SPEEDS = ("qps", "goodput", "per_core", "ratio", "p50", "p90", "p95", "p99")
LOADS = ("server_cpu", "server_quota", "generator_cpu", "memory", "joules")
WRONGS = ("failures", "wrong")
BEST = ("users", "qps", "p50", "p95", "kept", "p99", "ratio", "server_cpu", "memory", *WRONGS)
OPEN = ("rate", "qps", "goodput", "p50", "p95", "p99", "late", "server_cpu")
OTHERS = ("load", "sentences", "p50", "p95")
SMALL = ("users", "qps", "p95", "kept", "ratio")
WORDS = frozenset({"variant", "load", "kept", "warnings"})
OPTIONAL: Mapping[str, Callable[[MeasuredPoint], object]] = {  # shown if any point has a value
    "server_quota": lambda point: point.server_quota_percent,
    "joules": lambda point: point.joules_per_request,
}


def measured(report: Report, language: Language) -> Section | None:
    """Show each series' best point, then every plain point, which is folded."""
    if not report.points:
        return None
    say = language.say
    notes = (
        say("measured.note", cores=report.bench.cores),
        *interval_note(report.points, language),
        say("measured.goodput", limit=figures.unrounded(report.question.limit_ms)),
        _yardstick_note(report, language),
    )
    gist = say(
        "gist.measured",
        series=len({point.series for point in report.points}),
        points=len(report.points),
        cells=sum(point.repeats for point in report.points),
        valid=sum(point.valid_repeats for point in report.points),
        invalid=sum(not point.valid for point in report.points),
        doubtful=sum(bool(point.doubts) for point in report.points),
    )
    return Section(
        "measured",
        say("heading.measured"),
        grids=(best_grid(report, language), point_grid(report, language)),
        notes=notes,
        gist=gist,
    )


def _yardstick_note(report: Report, language: Language) -> str:
    if any(point.ratio is not None for point in report.points):
        return language.say("measured.yardstick")
    if not report.article_points:
        return language.say("measured.no_yardstick")
    invalidating = [
        doubt
        for point in report.article_points.values()
        for doubt in point.doubts
        if doubt.warn.invalidates
    ]
    return language.say("measured.invalid_yardstick", reasons=doubt_names(invalidating, language))


def interval_note(points: Sequence[MeasuredPoint], language: Language) -> tuple[str, ...]:
    """Return the note that says what the intervals are, or why there are none."""
    if not any(point.qps.ends for point in points):
        return (language.say("measured.single"),)
    return (language.say("measured.interval", level=figures.percent(CONFIDENCE_PERCENT)),)


def open_loop(report: Report, language: Language) -> Section | None:
    """Show every open-loop point: intended rate, throughput, latency, lateness."""
    if not report.open_points:
        return None
    say = language.say
    notes = (
        say("open.note"),
        say("measured.goodput", limit=figures.unrounded(report.question.limit_ms)),
        *interval_note(report.open_points, language),
    )
    return Section(
        "open",
        say("heading.open"),
        (say("open.lead"),),
        (open_grid(report, language),),
        notes=notes,
        gist=say(
            "gist.open",
            points=len(report.open_points),
            rates=figures.levels(point.load.rate or 0 for point in report.open_points),
        ),
    )


def best_grid(report: Report, language: Language, keys: Sequence[str] = BEST) -> Table:
    """Return each series' best point; a series without a usable one is shown by its first."""
    first: dict[Series, MeasuredPoint] = {}
    for point in sorted(report.points, key=lambda point: not point.valid):
        first.setdefault(point.series, point)
    order = dict.fromkeys(point.series for point in report.points)
    best = [report.best.get(series, first[series]) for series in order]
    asked = report.question
    kept: dict[str, Show] = {
        "kept": lambda point, language: (
            Entry(language.say("cell.left"), tone="muted")
            if point.variant in asked.without
            else _kept(point, asked.rank, asked.limit_ms, language)
        )
    }
    objective = phrases.objective(asked.rank, asked.limit_ms, language)
    return grid(best, keys, language, language.say("measured.best", objective=objective), kept)


def _kept(point: MeasuredPoint, rank: int, limit_ms: float, language: Language) -> Entry:
    """Say whether a point keeps the objective; only if its whole interval does, that is sure."""
    known = percentile_of(point, rank)
    if known is None:
        return Entry(language.say("cell.too_few"), tone="muted")
    if not keeps(point, rank, limit_ms):
        return Entry(language.say("cell.no"), tone="bad")
    if known.high is None:
        return Entry(language.say("cell.yes"), language.say("cell.no_interval"))
    if not surely_keeps(point, rank, limit_ms):
        return Entry(language.say("cell.unsure"), tone="bad")
    return Entry(language.say("cell.yes"), tone="good")


def point_grid(report: Report, language: Language) -> Table:
    """Return every plain point: throughput, latency, CPU, memory, failures; folded."""
    caption = language.say("measured.all", points=len(report.points))
    table = grid(report.points, ("users", *SPEEDS, *LOADS, *WRONGS), language, caption)
    return replace(table, folded=True)


def open_grid(report: Report, language: Language) -> Table:
    """Return every open-loop point: intended rate, throughput, latency, lateness."""
    return grid(report.open_points, (*OPEN, *WRONGS), language)


def small_grid(report: Report, language: Language) -> Table:
    """Return all points that are not plain in few columns."""
    return grid(
        (*report.open_points, *report.scaling.points, *report.scaling.others),
        (*OTHERS, "warnings"),
        language,
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


def doubt_names(doubts: Sequence[Doubt], language: Language) -> str:
    """Return the short names of reasons to doubt, each once."""
    codes = dict.fromkeys(doubt.warn.code for doubt in doubts)
    names = (language.say_or(f"doubt.{code}", code) for code in codes)
    return str(language.words["list"]).join(names)


def warnings_place(series: Series) -> str:
    """Return the id of the table with the warnings of a series."""
    return "warnings." + ".".join(quote(name, safe="") for name in series)


def _variant(point: MeasuredPoint, language: Language) -> Entry:
    """Return a point's name, with what is to be known of it before a figure is read.

    This column stays in view, so an invalid point and the number of warnings are marked here.
    """
    badge = None
    if point.doubts:
        count = len(point.doubts)
        text = language.say("badge.one" if count == 1 else "badge.many", count=count)
        badge = Badge(text, warnings_place(point.series), doubt_names(point.doubts, language))
    place = stack(point.stack, language)
    if point.valid:
        return Entry(point.variant, place, badge=badge)
    notes = (place, language.say("cell.invalid"))
    return Entry(point.variant, str(language.words["list"]).join(notes), "bad", badge)


def _rate(point: MeasuredPoint, language: Language) -> Entry:
    notes = [*shape(point.load, language), repeats(point, language)]
    note = str(language.words["list"]).join(part for part in notes if part)
    return Entry(figures.unrounded(point.load.rate or 0), note)


def _late(point: MeasuredPoint, language: Language) -> Entry:
    if point.late_p99_ms is None:
        return Entry(language.say("cell.too_few"), tone="muted")
    return Entry(figures.significant(point.late_p99_ms))


def _warnings(point: MeasuredPoint, language: Language) -> Entry:
    names = doubt_names(point.doubts, language)
    invalid = "" if point.valid else language.say("cell.invalid")
    return Entry(names or figures.NONE, invalid, tone="bad" if names else "muted")


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
