"""Pictures: the sections that show them, with what is to be seen and how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....toolkit.files import MEBIBYTE
from ....toolkit.runs.evidence import ceiling_of
from ....toolkit.runs.load import Load
from ....toolkit.runs.stages import STAGES
from ...facts.capacity import percentile_of
from ...facts.distributions import Distribution, depth, distributions
from ...facts.estimates import CONFIDENCE_PERCENT
from ...facts.points import MeasuredPoint, Series
from ...facts.report import Report
from ...facts.scaling import Axis
from ...plots.bars import BarColumn, Part, Row, bar_picture
from ...plots.cost import cost_picture
from ...plots.lines import Curve, Panel, Spot, line_picture
from ...plots.palette import SHARES
from ...text import figures
from ...text.language import Language
from ...text.phrases import machine, money
from ...text.tables import Picture, Section, load
from . import seen
from .ceiling_notes import ceiling_notes
from .cost_view import cost_view, cost_words, priced_points
from .view import View, across, curve_of

NAMES = (
    "cost", "latency", "throughput", "distribution", "stages", "ceiling", "size", "scaling",
    "trend",
)  # fmt: skip
OUTSIDE = "outside"
CEILING_ERROR = 1.05  # a ceiling is a median of rounds: so far above it is still at it
LINEAR = frozenset({"cores"})  # the levels of the other axes double from step to step
COLOURS = dict(zip((*STAGES, OUTSIDE), SHARES, strict=True))


def pictures(report: Report, language: Language) -> tuple[Section, ...]:
    """Return a section a picture, and one that says which pictures are left out and why.

    Their ids are the names of the pictures: cost, latency, throughput, distribution, stages,
    ceiling, size; and left-out.
    """
    view = View.of(report, language)
    made = {name: make(view) for name, make in _MAKERS.items()}
    missing = [name for name, section in made.items() if section is None]
    missing += [] if report.scaling.axes else ["scaling"]
    sections = tuple(section for section in made.values() if section is not None)
    if not missing:
        return sections
    reasons = tuple(language.say(f"left_out.{name}") for name in missing)
    names = (language.say(f"heading.{name}") for name in missing)
    gist = str(language.words["list"]).join(names)
    heading = language.say("heading.left_out")
    return (*sections, Section("left-out", heading, items=reasons, gist=gist))


def growth(report: Report, language: Language) -> tuple[Picture, ...]:
    """Return the picture of how speed grows along the scaling axes, if there are any."""
    view, axes = View.of(report, language), report.scaling.axes
    panels = [panel for axis in axes if (panel := _axis_panel(view, axis)).curves]
    if not panels:
        return ()
    told = seen.growth(axes, view.looks, language)
    return (view.picture("scaling", told, lambda said: line_picture(panels, said)),)


def _lines(view: View) -> tuple[dict[Series, list[MeasuredPoint]], list[str]]:
    """Return the plain points by series, those that stand out first, and the notes about them."""
    points = view.report.points
    series, notes = view.drawn(points)
    return {
        one: [point for point in points if point.series == one] for one in series
    }, view.line_notes(points) + notes


def _latency(view: View) -> Section | None:
    lines, notes = _lines(view)
    rank, limit = view.standing.rank, view.standing.limit_ms
    curves = []
    for points in lines.values():
        curves += curve_of(view, points, lambda point: percentile_of(point, rank))
        if view.looks[points[0].series].stands_out:
            curves += curve_of(view, points, lambda point: point.p50_ms, minor=True)
    if not any(not curve.minor for curve in curves):
        return None
    objective = view.say("objective", rank=rank, limit=figures.unrounded(limit))
    panel = Panel(
        view.say("latency", rank=rank), view.say("users"), view.users_ticks(view.report.points),
        tuple(curves), (limit, objective),
    )  # fmt: skip
    told = seen.latency(lines, view.looks, view.standing, view.language)
    return view.section("latency", told, notes, lambda said: line_picture([panel], said))


def _throughput(view: View) -> Section | None:
    lines, notes = _lines(view)
    every = lines.values()
    curves = [curve for points in every for curve in curve_of(view, points, lambda p: p.qps)]
    if not curves:
        return None
    ticks = view.users_ticks(view.report.points)
    panel = Panel(view.say("throughput"), view.say("users"), ticks, tuple(curves))
    told = seen.throughput(lines, view.looks, view.standing, view.language)
    return view.section("throughput", told, notes, lambda said: line_picture([panel], said))


def _distribution(view: View) -> Section | None:
    users = view.standing.users
    shown, notes = view.drawn([p for p in view.report.points if p.users == users])
    made = {curve.series: curve for curve in distributions(view.report.runs, Load(users))}
    curves = [made[series] for series in shown if series in made]
    if not curves:
        return None
    deepest = max(rank for curve in curves for rank in curve.ranks)
    ranks = [rank for rank in (0.0, 50.0, 90.0, 95.0, 99.0) if rank <= deepest]
    panel = Panel(
        view.say("distribution", users=view.language.count(users)), view.say("percentile"),
        tuple((depth(r), view.say("percent", rank=figures.unrounded(r))) for r in ranks),
        tuple(_spread(view, curve) for curve in curves),
    )  # fmt: skip
    told = seen.distribution(curves, view.looks, users, view.language)
    notes = [view.language.say("note.distribution"), *notes]
    return view.section("distribution", told, notes, lambda said: line_picture([panel], said))


def _spread(view: View, curve: Distribution) -> Curve:
    spots = tuple(
        Spot(depth(rank), ms) for rank, ms in zip(curve.ranks, curve.latencies_ms, strict=True)
    )
    marked = frozenset(place for place, rank in enumerate(curve.ranks) if rank in (50.0, 95.0))
    return Curve(view.looks[curve.series], spots, marked=marked)


def _cost(view: View) -> Section | None:
    report, standing, language = view.report, view.standing, view.language
    series, notes = view.drawn(report.points)
    every = priced_points(report, standing)
    drawn, price = cost_view(every, standing, series), standing.price
    if drawn is None or price is None:
        return None
    words = cost_words(standing, view.looks, language)
    told = seen.cost(every, drawn.front, view.looks, standing, language)
    note = language.say(
        "note.cost", price=machine(price, language), kind=language.say(f"kind.{price.kind}"),
        monthly=money(price.currency, price.monthly, language),
        level=figures.percent(CONFIDENCE_PERCENT),
    )  # fmt: skip
    return view.section(
        "cost", told, [note, *notes], lambda said: cost_picture(drawn, view.looks, words, said)
    )


def _stages(view: View) -> Section | None:
    users = view.standing.users
    at = [p for p in view.report.points if p.users == users and p.stages and p.mean_ms > 0]
    shown, notes = view.drawn(at)
    by_series = {point.series: point for point in at}
    parts = {series: _parts(by_series[series]) for series in shown}
    if not parts:
        return None
    names = {stage: view.language.say(f"stage.{stage}") for stage in COLOURS}
    rows = tuple(
        Row(
            tuple(
                Part(ms, figures.significant(ms, 2), COLOURS[stage]) for stage, ms in own.items()
            ),
            view.say("mean", ms=figures.significant(sum(own.values()))),
        )
        for own in parts.values()
    )
    present = [stage for stage in COLOURS if any(stage in own for own in parts.values())]
    legend = [(names[stage], COLOURS[stage]) for stage in present]
    title = view.say("stages", users=view.language.count(users))
    told = seen.stages(parts, view.looks, users, view.language)
    notes = [view.language.say("note.stages", outside=names[OUTSIDE]), *notes]
    faces = [view.looks[series] for series in parts]
    return view.section(
        "stages", told, notes,
        lambda said: bar_picture(faces, [BarColumn(title, rows)], said, legend),
    )  # fmt: skip


def _parts(point: MeasuredPoint) -> dict[str, float]:
    """Return the milliseconds of each stage, and what the client saw beside them."""
    outside = point.mean_ms - sum(point.stages.values())
    return {**point.stages, **({OUTSIDE: outside} if outside > 0 else {})}


def _ceiling(view: View) -> Section | None:
    shares: dict[Series, tuple[float, float]] = {}
    above: list[Series] = []  # nothing can: their ceiling was measured while the machine was busy
    lengths = []
    for series in view.looks:
        found = _ceiling_of(view, series[0])
        rates = [
            p.sentences.value
            for p in view.report.every_point
            if p.series == series and p.valid and p.load.cores is None
            and p.load.tokens in (None, found.get("tokens"))
        ]  # fmt: skip
        most = found.get("sentences_per_second")
        if most and rates and max(rates) > CEILING_ERROR * most:
            above.append(series)
        elif most and rates:
            shares[series] = max(rates), most
            lengths.append(
                figures.unrounded(found["tokens"]) if "tokens" in found else figures.NONE
            )
    if not shares:
        return None
    rows = tuple(
        Row(
            (Part(rate / most, "", view.looks[series].colour),),
            view.say(
                "share", share=figures.percent(100 * rate / most),
                rate=figures.significant(rate), most=figures.significant(most),
            ),
        )
        for series, (rate, most) in shares.items()
    )  # fmt: skip
    whole = max(1.0, *(rate / most for rate, most in shares.values()))
    column = BarColumn(view.say("ceiling"), rows, whole)
    told_shares = {series: rate / most for series, (rate, most) in shares.items()}
    told = seen.ceiling(told_shares, view.looks, view.language)
    notes = [view.language.say("note.ceiling", tokens=", ".join(dict.fromkeys(lengths)))]
    told_of = {series[0]: _ceiling_of(view, series[0]) for series in shares}
    notes += ceiling_notes(told_of, view.language)
    if above:
        names = view.language.listed([view.looks[series].name for series in above])
        notes.append(view.language.say("note.above", names=names))
    faces = [view.looks[series] for series in shares]
    return view.section("ceiling", told, notes, lambda said: bar_picture(faces, [column], said))


def _ceiling_of(view: View, variant: str) -> Mapping[str, Any]:
    known = (ceiling_of(run, variant) for run in view.report.runs)
    return next((told for told in known if told), {})


def _size(view: View) -> Section | None:
    own = {row.name: row for row in view.report.variants}
    rows = {
        series: own[series[0]]
        for series in sorted(view.looks, key=lambda series: view.looks[series].number)
        if series[1] == "reference" and series[0] in own
    }
    memory = {
        row.name: dict(row.memory).get("reference") or max((b for _, b in row.memory), default=0)
        for row in rows.values()
    }
    memory = {name: size for name, size in memory.items() if size}
    if not memory and not any(row.file_bytes for row in rows.values()):
        return None
    columns = [
        BarColumn(
            view.say("file"),
            tuple(
                _bar(view, series, (row.file_bytes or 0) / figures.MEGABYTE)
                for series, row in rows.items()
            ),
        ),
        BarColumn(
            view.say("memory"),
            tuple(
                _bar(view, series, memory.get(row.name, 0) / MEBIBYTE)
                for series, row in rows.items()
            ),
        ),
    ]
    told = seen.size(rows, memory, view.standing.baseline, view.looks, view.language)
    faces = [view.looks[series] for series in rows]
    return view.section(
        "size", told, [view.language.say("note.size")],
        lambda said: bar_picture(faces, columns, said, none=view.say("unknown")),
    )  # fmt: skip


def _bar(view: View, series: Series, value: float) -> Row | None:
    colour = view.looks[series].colour
    return Row((Part(value, "", colour),), figures.significant(value)) if value else None


def _axis_panel(view: View, axis: Axis) -> Panel:
    def level(point: MeasuredPoint) -> float:
        return float(axis.level(point)) if axis.name in LINEAR else across(axis.level(point))

    series, _ = view.drawn(axis.points)
    curves = [
        curve
        for one in series
        for curve in curve_of(
            view, [point for point in axis.points if point.series == one],
            lambda point: seen.axis_value(axis, point), level=level,
        )
    ]  # fmt: skip
    ticks = {level(point): str(axis.level(point)) for point in axis.points}
    title = view.say("growing_users" if axis.name == "users" else axis.name)
    fixed = load(axis.fixed, view.language) or view.language.say("scaling.plain")
    return Panel(
        view.say("fixed", title=title, load=fixed), view.say(f"{axis.name}_axis"),
        tuple(sorted(ticks.items())), tuple(curves),
    )  # fmt: skip


_MAKERS: Mapping[str, Callable[[View], Section | None]] = {
    "cost": _cost,
    "latency": _latency,
    "throughput": _throughput,
    "distribution": _distribution,
    "stages": _stages,
    "ceiling": _ceiling,
    "size": _size,
}
