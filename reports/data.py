"""A report as data for programs (``summary.json``)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from ..toolkit.runs.validity import is_valid
from .facts.costs import cost
from .facts.points import MeasuredPoint
from .facts.prices import Price
from .facts.report import Report
from .facts.scaling import Axis
from .facts.variants import VariantRow

FORMAT = 2
GATE = (
    "passed", "hit_at_1", "hit_at_5", "top1_agreement", "top5_agreement", "order_agreement",
    "max_delta", "divergence", "worst_divergence", "worst", "furthest", "batch", "categories",
    "flipped", "guessing", "warnings",
)  # fmt: skip


def as_data(report: Report) -> dict[str, Any]:
    """Return the report as JSON-ready data; latencies in ms, sizes in bytes, no infinities."""
    header, outcome = report.header, report.verdict
    chosen = outcome.chosen
    data = {
        "format": FORMAT,
        "runs": [run.header.run for run in report.runs],
        "started": header.started,
        "tool": header.tool,
        "model": dict(header.model),
        "gold": dict(header.gold),
        "plan": dict(header.plan),
        "machine": dict(header.machine),
        "versions": dict(header.versions),
        "verdict": {
            "limit_ms": outcome.limit_ms,
            "within_limit": outcome.within_limit,
            "variant": chosen.variant if chosen else None,
            "stack": chosen.stack if chosen else None,
            "users": chosen.users if chosen else None,
            "too_close": [
                {
                    **_place(rival.point),
                    "behind_percent": rival.percent,
                    "overlapping": rival.overlapping,
                }
                for rival in outcome.rivals
            ],
            "not_recommended": [asdict(refusal) for refusal in outcome.refusals],
        },
        "cells": _cells(report),
        "points": [_point(point) for point in report.every_point],
        "scaling": [_axis(axis) for axis in report.scaling.axes],
        "variants": [_variant(row) for row in report.variants],
        "costs": [
            {
                **_place(point),
                **_price(price),
                "per_million": priced.per_million,
                "optimistic": priced.optimistic,
                "measured_threads_per_core": report.bench.threads_per_core,
            }
            for point in report.best.values()
            for price in report.prices
            if (priced := cost(price, point.qps.value, report.bench))
        ],
        "article": asdict(report.article),
    }
    return dict(_finite(data))


def _place(point: MeasuredPoint) -> dict[str, Any]:
    return {"variant": point.variant, "stack": point.stack, "users": point.users}


def _cells(report: Report) -> dict[str, int]:
    cells = [cell for run in report.runs for cell in run.cells]
    return {
        "measured": len(cells),
        "valid": sum(is_valid(cell) for cell in cells),
        "superseded": sum(len(run.superseded) for run in report.runs),
    }


def _point(point: MeasuredPoint) -> dict[str, Any]:
    """Return the fields of a point and its load in one object; ``low``, ``high``: the interval."""
    data = asdict(replace(point, doubts=()))
    doubts = [{"repeat": doubt.cell.point.repeat, **asdict(doubt.warn)} for doubt in point.doubts]
    del data["doubts"], data["load"]
    return {
        **_place(point),
        "mode": "open" if point.load.is_open else "closed",
        **asdict(point.load),
        **data,
        "sentences_per_second": asdict(point.sentences),
        "valid": point.valid,
        "warnings": doubts,
    }


def _axis(axis: Axis) -> dict[str, Any]:
    """Return an axis: its levels, the load that stays fixed, the series measured along it."""
    fixed = asdict(axis.fixed)
    del fixed[axis.name], fixed["rate"]
    series = dict.fromkeys(point.series for point in axis.points)
    names = [{"variant": variant, "stack": stack} for variant, stack in series]
    return {"axis": axis.name, "levels": list(axis.levels), "fixed": fixed, "series": names}


def _variant(row: VariantRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "summary": row.entry.get("summary"),
        "file_bytes": row.file_bytes,
        "total_bytes": row.total_bytes,
        "resident_bytes": dict(row.memory),
        "gate": _gate(row),
    }


def _gate(row: VariantRow) -> dict[str, Any] | None:
    """Return a variant's gate result as the run recorded it; null for what an older one lacks."""
    if row.gate is None:
        return None
    recorded = row.entry["gate"]
    rest = {"reasons": row.gate.reasons, "judged": row.gate.judged}
    return {key: recorded.get(key) for key in GATE} | rest


def _price(price: Price) -> dict[str, Any]:
    return {
        "machine": price.name,
        "region": price.region,
        "kind": price.kind,
        "currency": price.currency,
        "monthly": price.monthly,
        "vcpu": price.vcpu,
        "threads_per_core": price.threads_per_core,
        "source": price.source.title,
        "date": price.source.date,
    }


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold: an infinite percentile by "infinite", NaN by None."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinite"
    return value
