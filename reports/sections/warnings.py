"""Warnings in words: every reason to doubt a point, with what was seen and what to try."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ...toolkit.runs.load import Load
from ...toolkit.runs.run_file import Cell, Warn
from ...toolkit.runs.validity import hidden_wait_ms, littles_users
from ..facts.points import Doubt, Series
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, load, stack
from .points import doubt_names, warnings_place

SEEN = 3  # of repeats that saw the same, so many say what; the data beside the page holds all


def warnings(report: Report, language: Language) -> Section:
    """List every reason to doubt a point, a table a series, and what was measured again."""
    say = language.say
    by_series: dict[Series, list[Doubt]] = defaultdict(list)
    for point in report.shown_points:
        by_series[point.series] += point.doubts
    doubts = [doubt for own in by_series.values() for doubt in own]
    none_note = () if doubts else (say("warnings.none"),)
    return Section(
        "warnings",
        say("heading.warnings"),
        (*_measured_again(report, language), *none_note),
        tuple(_grid(series, own, language) for series, own in by_series.items() if own),
        notes=tuple(_advice(doubts, language)),
        gist=say(
            "gist.warnings",
            warnings=len(doubts),
            cells=len({id(doubt.cell) for doubt in doubts}),
            points=sum(bool(point.doubts) for point in report.shown_points),
            invalid=sum(not point.valid for point in report.shown_points),
        ),
    )


def _measured_again(report: Report, language: Language) -> tuple[str, ...]:
    earlier = [(run.header.run, cell.point) for run in report.shown_runs for cell in run.superseded]
    if not earlier:
        return ()
    points = len(set(earlier))
    key = "warnings.again_one" if points == 1 else "warnings.again"
    return (language.say(key, count=points, attempts=len(earlier)),)


def _grid(series: Series, doubts: Sequence[Doubt], language: Language) -> Table:
    """Return one series' warnings: a row a load and reason, with the repeats that showed it."""
    rows: dict[tuple[Load, str], list[Doubt]] = defaultdict(list)
    for doubt in doubts:
        rows[doubt.cell.load, doubt.warn.code].append(doubt)
    variant, server = series
    caption = language.say(
        "warnings.caption", variant=variant, stack=stack(server, language), count=len(doubts)
    )
    return Table(
        columns(language, ("load", "reason", "repeats", "seen")),
        tuple(_row(own, language) for own in rows.values()),
        caption,
        frozenset({0, 1, 2, 3}),
        folded=True,
        place=warnings_place(series),
    )


def _row(doubts: Sequence[Doubt], language: Language) -> tuple[Entry, ...]:
    separator = str(language.words["list"])
    seen = dict.fromkeys(_seen(doubt, language) for doubt in doubts[:SEEN])
    more = len(doubts) - SEEN
    invalid = any(doubt.warn.invalidates for doubt in doubts)
    return (
        Entry(load(doubts[0].cell.load, language)),
        Entry(
            doubt_names(doubts, language),
            language.say("warnings.invalid") if invalid else "",
            "bad" if invalid else "",
        ),
        Entry(language.listed(doubt.cell.point.repeat for doubt in doubts)),
        Entry(
            separator.join(seen),
            language.say("warnings.more", count=more) if more > 0 else "",
        ),
    )


def _seen(doubt: Doubt, language: Language) -> str:
    warn = doubt.warn
    return language.say_or(f"seen.{warn.code}", warn.seen, **_values(doubt.cell, warn, language))


def _advice(doubts: Sequence[Doubt], language: Language) -> Iterator[str]:
    """Yield what to try against each reason, the commonest first."""
    counts = Counter(doubt.warn.code for doubt in doubts)
    first = {doubt.warn.code: doubt for doubt in reversed(doubts)}
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        yield language.say(
            "warnings.advice",
            reason=doubt_names([first[code]], language),
            count=count,
            advice=language.say_or(f"advice.{code}", first[code].warn.advice),
        )


def _values(cell: Cell, warn: Warn, language: Language) -> dict[str, object]:
    """Return the values that a warning's text may use, by name."""
    return {
        "wrong": cell.wrong,
        "failed": cell.failed,
        "total": cell.requests,
        "kinds": language.listed(sorted(cell.failures)),
        "changes": language.listed(cell.changes),
        "answers": len(cell.latencies_ms),
        "generator": f"{cell.generator_core_percent:.0f}",
        "late": f"{cell.generator_late_ms:.0f}",
        "throttled": f"{cell.throttled_percent:.0f}",
        "other": _rounded(cell.other_cpu_percent),
        "steal": f"{cell.steal_percent:.0f}",
        "swapped": figures.mebibytes(cell.swapped_bytes),
        "inside": f"{littles_users(cell):.2f}",
        "users": language.count(cell.load.users),
        "waits": _rounded(hidden_wait_ms(cell)),
        "hidden": _rounded(cell.percentile_ms(99)),
        **warn.figures,
    }


def _rounded(value: float | None) -> str:
    return figures.NONE if value is None else f"{value:.0f}"
