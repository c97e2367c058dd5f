"""History: the same points in earlier measurements of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..facts.estimates import Estimate
from ..facts.history.history import History, Shift, Snapshot, Step, Trend
from ..facts.history.pooling import Difference
from ..facts.report import Report
from ..text import figures
from ..text.language import Language
from ..text.tables import Entry, Section, Table, columns, stack
from .pictures.trend import trend_picture
from .points import estimate

MOST_DIFFERENCES = 8
MOST_ROWS = 300
DIGITS = 12  # of a digest
LESS_IS_BETTER, MORE_IS_BETTER = -1, 1


def history(report: Report, language: Language) -> Section | None:
    """Show how QPS and P95 changed from epoch to epoch; None if there is one epoch only."""
    told = report.history
    if told is None:
        return None
    say = language.say
    best = {point.key for point in report.best.values()}
    first = [trend for trend in told.trends if trend.key in best]
    grids = [_epochs(told, language)]
    notes = [say("history.method"), *_controls(told, language)]
    if first:
        grids.append(_trends(first, told, language, say("history.best")))
    if len(told.trends) > len(first):
        every = _trends(told.trends, told, language, say("history.every"), folded=True)
        if len(every.rows) <= MOST_ROWS:
            grids.append(every)
        else:
            notes.append(say("history.long", rows=len(every.rows)))
    if not told.trends:
        notes.append(say("history.nothing_common"))
    return Section(
        "history",
        say("heading.history"),
        (say("history.lead", epochs=len(told.snapshots), newest=_name(told.snapshots[-1])),),
        tuple(grids),
        trend_picture(report, told, first, language),
        notes=tuple(notes),
        gist=say(
            "gist.history",
            epochs=len(told.snapshots),
            changes=sum(_real(step) for trend in first or told.trends for step in trend.steps),
        ),
    )


def _real(step: Step) -> bool:
    return any(found is not None and bool(found.real) for found in (step.qps, step.p95))


def _name(snapshot: Snapshot) -> str:
    return ", ".join(run.header.run for run in snapshot.runs)


def _epochs(told: History, language: Language) -> Table:
    absent = Entry(language.say("provenance.not_recorded"), tone="muted")
    rows = tuple(
        (
            Entry(snapshot.header.started),
            Entry(_name(snapshot)),
            Entry(snapshot.header.tool),
            Entry(figures.commit(snapshot.header.commit)) if snapshot.header.commit else absent,
            Entry(differences(snapshot.differences, language) if place else figures.NONE),
        )
        for place, snapshot in enumerate(told.snapshots)
    )
    heads = columns(language, ("started", "run", "tool", "commit", "differs"))
    return Table(heads, rows, language.say("history.epochs"), frozenset(range(len(heads))))


def differences(found: Iterable[Difference], language: Language) -> str:
    """Return what differs between two epochs as a phrase."""
    every = [
        language.say("history.differs", field=field, before=_short(one), after=_short(other))
        for field, one, other in found
        if field != "versions.tiankong"  # said as the tool's version
    ]
    if not every:
        return language.say("history.commit_only")
    more = len(every) - MOST_DIFFERENCES
    shown = every[:MOST_DIFFERENCES] + (
        [language.say("history.more", count=more)] if more > 0 else []
    )
    return "; ".join(shown)


def _short(value: object) -> str:
    text = figures.NONE if value is None else str(value)
    return text[:DIGITS] if len(text) > 2 * DIGITS else text


def _trends(
    trends: Iterable[Trend], told: History, language: Language, caption: str, folded: bool = False
) -> Table:
    heads = columns(language, ("variant", "users", "started", "qps", "shift", "p95", "shift"))
    rows = (row for trend in trends for row in _trend(trend, told, language))
    return Table(heads, tuple(rows), caption, frozenset({0, 2}), folded)


def _trend(trend: Trend, told: History, language: Language) -> Iterator[tuple[Entry, ...]]:
    for step in trend.steps:
        point = step.point
        invalid = "" if point.valid else language.say("cell.invalid")
        yield (
            Entry(trend.key.variant, stack(trend.key.stack, language), "bad" if invalid else ""),
            Entry(str(trend.key.load.users)),
            Entry(told.snapshots[step.place].header.started[:10], invalid),
            estimate(point.qps),
            _shift(step.qps, MORE_IS_BETTER, language),
            _latency(point.p95_ms, language),
            _shift(step.p95, LESS_IS_BETTER, language),
        )


def _latency(latency: Estimate | None, language: Language) -> Entry:
    if latency is None:
        return Entry(language.say("cell.too_few"), tone="muted")
    return estimate(latency)


def _shift(found: Shift | None, better: int, language: Language) -> Entry:
    if found is None:
        return Entry(figures.NONE, tone="muted")
    if not found.real:
        key = "history.unknown" if found.real is None else "history.within"
        return Entry(language.say(key), tone="muted")
    text = language.say("history.shift", percent=_signed(found.percent))
    return Entry(text, tone="good" if found.percent * better > 0 else "bad")


def _controls(told: History, language: Language) -> Iterator[str]:
    """Say of each epoch in which the article's server changed, too."""
    for place, snapshot in enumerate(told.snapshots):
        shaken = told.shaken(place)
        if shaken:
            percents = [step.qps.percent for step in shaken if step.qps]
            low, high = (_signed(value) for value in (min(percents), max(percents)))
            yield language.say(
                "history.control", started=snapshot.header.started[:10], low=low, high=high
            )


def _signed(percent: float) -> str:
    return f"{percent:+.1f}".replace("-", "−")
