"""Warnings in words: every reason to doubt a point, with what was seen and what to try."""

from __future__ import annotations

from ...toolkit.runs.run_file import Cell, Warn
from ...toolkit.runs.validity import hidden_wait_ms, littles_users
from ..facts.points import Doubt
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Section, load, stack


def warnings(report: Report, language: Language) -> Section:
    """List every reason to doubt a point, and how many points were measured again."""
    items = tuple(
        _warning(doubt, language) for point in report.every_point for doubt in point.doubts
    )
    none_note = () if items else (language.say("warnings.none"),)
    heading = language.say("heading.warnings")
    return Section(
        "warnings", heading, (*_measured_again(report, language), *none_note), items=items
    )


def _measured_again(report: Report, language: Language) -> tuple[str, ...]:
    earlier = [(run.header.run, cell.point) for run in report.runs for cell in run.superseded]
    if not earlier:
        return ()
    points = len(set(earlier))
    key = "warnings.again_one" if points == 1 else "warnings.again"
    return (language.say(key, count=points, attempts=len(earlier)),)


def _warning(doubt: Doubt, language: Language) -> str:
    cell, warn = doubt.cell, doubt.warn
    values = _values(cell, warn, language)
    return language.say(
        "warnings.line",
        variant=cell.point.variant,
        stack=stack(cell.point.stack, language),
        load=load(cell.load, language),
        repeat=cell.point.repeat,
        seen=language.say_or(f"seen.{warn.code}", warn.seen, **values),
        advice=language.say_or(f"advice.{warn.code}", warn.advice),
        invalid=language.say("warnings.invalid") if warn.invalidates else "",
    )


def _values(cell: Cell, warn: Warn, language: Language) -> dict[str, object]:
    """Return the values that a warning's text may use, by name."""
    return {
        "wrong": cell.wrong,
        "failed": cell.failed,
        "total": cell.requests,
        "kinds": ", ".join(sorted(cell.failures)),
        "changes": ", ".join(cell.changes),
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
