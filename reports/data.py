"""A report as data for programs (``summary.json``)."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from ..toolkit.runs.run_file import Run
from .facts.answer import Answer
from .facts.candidates import Candidate, Reason
from .facts.claims.claims import findings
from .facts.costs import cost
from .facts.points import MeasuredPoint
from .facts.prices import Price
from .facts.provenance import tally
from .facts.question import Question
from .facts.report import Report
from .facts.scaling import Axis
from .facts.variants import VariantRow

FORMAT = 3  # 3: question and answer; before, a verdict at one fixed objective
GATE = (
    "passed", "hit_at_1", "hit_at_5", "top1_agreement", "top5_agreement", "order_agreement",
    "max_delta", "divergence", "worst_divergence", "worst", "furthest", "batch", "categories",
    "flipped", "guessing", "warnings",
)  # fmt: skip


def as_data(report: Report) -> dict[str, Any]:
    """Return the report as JSON-ready data; latencies in ms, sizes in bytes, no infinities."""
    header = report.header
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
        "provenance": [_origin(run) for run in report.given],
        "question": question_data(report.question),
        "answer": answer_data(report.answer),
        "cells": asdict(tally(report.runs)),
        "points": [_point(point) for point in report.every_point],
        "scaling": [_axis(axis) for axis in report.scaling.axes],
        "scaling_runs": [run.header.run for run in report.growth_runs or report.runs],
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
        "history": _history(report),
        "article": asdict(report.article),
        "claims": [
            {"claim": found.claim, "verdict": found.verdict, "quoted": dict(found.quoted)}
            for found in findings(report)
        ],
    }
    return dict(_finite(data))


def question_data(asked: Question) -> dict[str, Any]:
    """Return a question as data: requests a second, shares in 0..1, latencies in ms."""
    return {
        "percentile": asked.rank,
        "limit_ms": asked.limit_ms,
        "load": asked.load,
        "headroom": asked.headroom,
        "utilisation": asked.utilisation,
        "instances": asked.instances,
        "price": _price(asked.price) if asked.price else None,
        "without": list(asked.without),
        "stated": sorted(asked.stated),
    }


def answer_data(found: Answer) -> dict[str, Any]:
    """Return an answer as data; ``candidates`` are in the order of the answer's preference."""
    return {
        "status": found.status,
        "reasons": [_reason(reason) for reason in found.reasons],
        "notes": [_reason(note) for note in found.notes],
        "leading": _series(found.leading),
        "tied": [_series(each) for each in found.tied],
        "runner_up": _series(found.runner_up),
        "closest": _place(found.closest) if found.closest else None,
        "candidates": [_candidate(each) for each in found.candidates],
        "accelerator": found.accelerator
        and {
            **_price(found.accelerator.price),
            "cannot_pay_up_to": found.accelerator.up_to,
            "measured": found.accelerator.measured and asdict(found.accelerator.measured),
            "pays_above": found.accelerator.pays_above,
        },
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, **reason.about}


def _series(each: Candidate | None) -> dict[str, Any] | None:
    return None if each is None else {"variant": each.variant, "stack": each.stack}


def _candidate(each: Candidate) -> dict[str, Any]:
    found = each.capacity
    return {
        "variant": each.variant,
        "stack": each.stack,
        "refusal": each.refusal or None,
        "gaps": [_reason(gap) for gap in each.gaps],
        "capacity": found and asdict(found.qps),
        "bounded": found and found.bounded,
        "from": found and ("search" if found.search else "level"),
        "users": found and found.point and found.point.users,
        "percentile_ms": each.percentile_ms,
        "each": each.each and asdict(each.each),
        "instances": each.instances
        and dict(zip(("value", "low", "high"), each.instances, strict=True)),
        "monthly": each.monthly and asdict(each.monthly),
        "per_million": each.per_million and asdict(each.per_million),
    }


def _place(point: MeasuredPoint) -> dict[str, Any]:
    return {"variant": point.variant, "stack": point.stack, "users": point.users}


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


def _origin(run: Run) -> dict[str, Any]:
    """Return what began a run; null for what an older one does not say."""
    header = run.header
    return {
        "run": header.run,
        "started": header.started,
        "command": list(header.command) or None,
        "commit": header.commit or None,
        "plan": header.plan.get("name"),
        "seed": header.seed,
    }


def _history(report: Report) -> list[dict[str, Any]]:
    """Return the epochs, oldest first, each with its plain points; empty if there is one only."""
    if report.history is None:
        return []
    return [
        {
            "runs": [run.header.run for run in snapshot.runs],
            "started": snapshot.header.started,
            "tool": snapshot.header.tool,
            "commit": snapshot.header.commit or None,
            "differences": [
                {"field": field, "before": before, "after": after}
                for field, before, after in snapshot.differences
            ],
            "points": [
                {
                    **_place(step.point),
                    "valid": step.point.valid,
                    "qps": asdict(step.point.qps),
                    "p95_ms": asdict(step.point.p95_ms) if step.point.p95_ms else None,
                    "qps_shift": asdict(step.qps) if step.qps else None,
                    "p95_shift": asdict(step.p95) if step.p95 else None,
                }
                for trend in report.history.trends
                for step in trend.steps
                if step.place == place
            ],
        }
        for place, snapshot in enumerate(report.history.snapshots)
    ]


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
