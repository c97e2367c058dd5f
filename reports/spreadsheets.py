"""A report's points and cells as CSV files that a spreadsheet opens as they are.

They follow RFC 4180 (commas, CRLF) in UTF-8 with a byte order mark, without which Excel takes
Chinese for another encoding.  Decimal numbers have a point.  A text that a spreadsheet would take
for a formula has an apostrophe before it, as OWASP advises ("CSV Injection").
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from ..toolkit.runs.cell import Cell
from ..toolkit.runs.point import Point
from ..toolkit.runs.run_file import Run
from ..toolkit.runs.stages import STAGES
from ..toolkit.runs.validity import doubts
from .facts.estimates import RANKS, Estimate
from .facts.points import MeasuredPoint
from .facts.report import Report

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a text begins that a spreadsheet would compute
MARK = "\ufeff"
MEASURED = (
    "server_cpu_percent", "server_quota_percent", "generator_cpu_percent", "resident_bytes",
)  # fmt: skip
NOTED = (
    "generator_core_percent", "generator_wait_percent", "generator_late_ms", "generators",
    "other_cpu_percent", "steal_percent", "throttled_percent", "swapped_bytes", "joules",
    "proportional_bytes", "start_seconds",
)  # fmt: skip

Row = dict[str, Any]


def points_csv(report: Report) -> str:
    """Return every point, one a line: latencies in ms, intervals as ``low`` and ``high``."""
    return _text(_point(point) for point in report.every_point)


def cells_csv(report: Report) -> str:
    """Return every cell of every run, one a line, without raw times; superseded ones too."""
    return _text(
        _cell(run, cell, superseded)
        for run in report.given
        for superseded, cells in ((False, run.cells), (True, run.superseded))
        for cell in cells
    )


def _text(rows: Iterable[Row]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream)  # its usual dialect is RFC 4180's
    heads: tuple[str, ...] = ()
    for row in rows:
        if not heads:
            heads = tuple(row)
            writer.writerow(heads)
        writer.writerow(_safe(row[head]) for head in heads)
    return MARK + stream.getvalue()


def _safe(value: Any) -> Any:
    """Return a value as a spreadsheet is to read it; "" for what is not known.

    >>> _safe("=1+2"), _safe(-1.5), _safe(None), _safe(float("inf")), _safe(True)
    ("'=1+2", -1.5, '', 'infinite', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not math.isfinite(value):
        return "" if math.isnan(value) else "infinite"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if value is None else value


def _place(point: Point) -> Row:
    load = {"mode": point.load.mode, **asdict(point.load)}
    return {"variant": point.variant, "stack": point.stack, **load}


def _estimate(name: str, estimate: Estimate | None) -> Row:
    low, high = (estimate and estimate.ends) or (None, None)
    return {
        name: estimate and estimate.value,
        f"{name}_low": low,
        f"{name}_high": high,
    }


def _stages(stages: Mapping[str, float]) -> Row:
    return {f"stage_{name}_ms": stages.get(name) for name in STAGES}


def _point(point: MeasuredPoint) -> Row:
    row = {
        **_place(point.key),
        "repeats": point.repeats,
        "valid_repeats": point.valid_repeats,
        **_estimate("qps", point.qps),
        "sentences_per_second": point.sentences.value,
        "qps_per_core": point.qps_per_core,
        "goodput": point.goodput,
        "ratio_to_article": point.ratio,
        "mean_ms": point.mean_ms,
    }
    for rank in RANKS:
        row |= _estimate(f"p{rank}_ms", getattr(point, f"p{rank}_ms"))
    return {
        **row,
        "late_p99_ms": point.late_p99_ms,
        **{name: getattr(point, name) for name in MEASURED},
        "joules_per_request": point.joules_per_request,
        **_stages(point.stages),
        "failures": point.failures,
        "wrong": point.wrong,
        "warnings": " ".join(dict.fromkeys(doubt.warn.code for doubt in point.doubts)),
    }


def _cell(run: Run, cell: Cell, superseded: bool) -> Row:
    warns = doubts(cell)
    return {
        "run": run.header.run,
        "started": cell.started,
        **_place(cell.point),
        "repeat": cell.point.repeat,
        "attempt": cell.attempt,
        "stage": cell.point.stage,
        "superseded": superseded,
        "valid": not any(warn.invalidates for warn in warns),
        "seconds": cell.seconds,
        "warmup_seconds": cell.warmup_seconds,
        "requests": cell.requests,
        "answers": len(cell.latencies_ms),
        "failures": cell.failed,
        "wrong": cell.wrong,
        "qps": cell.qps,
        "mean_ms": cell.mean_ms,
        **{f"p{rank}_ms": cell.percentile_ms(rank) for rank in RANKS},
        **{name: getattr(cell, name) for name in (*MEASURED, *NOTED)},
        **_stages(cell.stages),
        "settings": _json(cell.settings),
        "warnings": " ".join(warn.code for warn in warns),
    }


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, ensure_ascii=False, sort_keys=True) if settings else ""
