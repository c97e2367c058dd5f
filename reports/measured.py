"""What was measured: the grid of points and the grid of variants."""

from __future__ import annotations

from . import figures
from .grids import Entry, Grid, columns, stack
from .language import Language
from .report import Report
from .tables import Point, Spread, VariantRow


def point_grid(report: Report, language: Language) -> Grid:
    """Return every point: throughput, latency, CPU, memory, failures."""
    rates = ("users", "qps", "per_core", "ratio", "p50", "p95")
    loads = ("server_cpu", "generator_cpu", "memory", "failures", "wrong", "warnings")
    return Grid(
        columns(language, ("variant", *rates, *loads)),
        tuple(_point_row(point, language) for point in report.points),
        words=frozenset({0, len(rates) + len(loads)}),
    )


def _point_row(point: Point, language: Language) -> tuple[Entry, ...]:
    codes = ", ".join(dict.fromkeys(doubt.warn.code for doubt in point.doubts))
    invalid = "" if point.valid else language.say("cell.invalid")
    repeats = language.say("cell.repeats", valid=point.valid_repeats, repeats=point.repeats)
    return (
        Entry(point.variant, stack(point.stack, language)),
        Entry(str(point.users), repeats if point.repeats > 1 else ""),
        _spread(point.qps, point),
        Entry(figures.significant(point.qps_per_core)),
        Entry(figures.significant(point.ratio) if point.ratio is not None else figures.NONE),
        _latency(point.p50_ms, point, language),
        _latency(point.p95_ms, point, language),
        Entry(figures.percent(point.server_cpu_percent)),
        Entry(figures.percent(point.generator_cpu_percent)),
        Entry(figures.mebibytes(point.resident_bytes)),
        Entry(str(point.failures), tone="bad" if point.failures else ""),
        Entry(str(point.wrong), tone="bad" if point.wrong else ""),
        Entry(codes or figures.NONE, invalid, tone="bad" if codes else "muted"),
    )


def _spread(spread: Spread, point: Point) -> Entry:
    repeated = max(point.valid_repeats, 1 if point.valid else point.repeats) > 1
    note = figures.span(spread.low, spread.high) if repeated else ""
    return Entry(figures.significant(spread.median), note)


def _latency(spread: Spread | None, point: Point, language: Language) -> Entry:
    if spread is None:
        return Entry(language.say("cell.too_few"), tone="muted")
    return _spread(spread, point)


def variant_grid(report: Report, language: Language) -> Grid:
    """Return size, memory and gate of every variant."""
    keys = ("variant", "file", "total", "memory", "gate", "hit1", "hit5", "agreement")
    rows = tuple(_variant_row(row, language) for row in report.variants)
    return Grid(
        columns(language, keys),
        rows,
        words=frozenset({0, keys.index("memory"), keys.index("gate")}),
    )


def _variant_row(row: VariantRow, language: Language) -> tuple[Entry, ...]:
    memory = str(language.words["list"]).join(
        language.say(
            "cell.memory_at", mebibytes=figures.mebibytes(size), stack=stack(name, language)
        )
        for name, size in row.memory
    )
    gate = row.gate
    shares: tuple[float, ...] = ()
    if gate is None:
        answer = Entry(language.say("cell.unasked"), tone="bad")
    else:
        shares = (gate.hit_at_1, gate.hit_at_5, gate.top1_agreement)
        answer = Entry(
            language.say("cell.passed" if gate.passed else "cell.failed"),
            "; ".join(gate.reasons),
            "good" if gate.passed else "bad",
        )
    return (
        Entry(row.name, language.pick(row.entry, "summary")),
        Entry(figures.megabytes(row.file_bytes) if row.file_bytes else figures.NONE),
        Entry(figures.megabytes(row.total_bytes) if row.total_bytes else figures.NONE),
        Entry(memory or figures.NONE),
        answer,
        *(Entry(figures.share(value)) for value in shares),
        *(Entry(figures.NONE, tone="muted") for _ in range(3 - len(shares))),
    )
