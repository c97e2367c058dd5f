"""Every claim of the article: held to its own figures, and to what was measured here.

The article's machine has other cores than the measured one.  A row of its table is compared with
the load that puts as many users on each core here, its QPS per core.  Where that would be less than
one user, and for a single user, whole machine is compared with whole machine.  If the load was not
measured, the nearest loads below and above it decide.  The rules of the verdict are in article.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ....toolkit.runs.evidence import DISTILBERT, IMAGE, evidence_of
from ..article import CONTRADICTORY, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, Row, judge
from ..estimates import Estimate
from ..points import MeasuredPoint
from ..report import Report
from .findings import Finding, Statement, Value
from .savings import money

MEGABYTE = 1_000_000
FLOAT_BYTES = 4  # of a parameter in float32


def findings(report: Report) -> tuple[Finding, ...]:
    """Return a finding on every claim of the article: table, latency, sizes, image, money."""
    rows = [finding for row in report.article.rows for finding in _row(report, row)]
    return (
        *rows,
        _average(report),
        *_files(report),
        _image(report),
        *_smaller_model(report),
        *money(report),
    )


# --- the table ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counterpart:
    """The measured points that a row is held to: one of the same load, or its two neighbours.

    ``alone``: whole machine is compared with whole machine.  ``why`` says why there is no point.
    """

    points: tuple[MeasuredPoint, ...] = ()
    alone: bool = False
    why: tuple[Statement, ...] = ()


def _counterpart(report: Report, row: Row) -> _Counterpart:
    if not report.article.is_of(report.header.model):
        return _Counterpart(why=(_other_model(report),))
    users = row.users * report.bench.cores / report.article.cores
    alone = row.users == 1 or users < 1
    users = 1 if alone else users
    measured = _article_points(report)
    valid = {level: point for level, point in measured.items() if point.valid}
    if users in valid:
        return _Counterpart((valid[int(users)],), alone)
    below = [point for level, point in valid.items() if level < users][-1:]
    above = [point for level, point in valid.items() if level > users][:1]
    key = "invalid" if users in measured else "needs" if users == int(users) else "no_level"
    why = (Statement(key, {"level": users, "here_cores": report.bench.cores}),)
    return _Counterpart((*below, *above) if below and above else (), alone, why)


def _article_points(report: Report) -> dict[int, MeasuredPoint]:
    """Return the points of the article's server with the article's variant, by users."""
    own = report.article.variant
    return {n: p for n, p in sorted(report.article_points.items()) if p.variant == own}


def _row(report: Report, row: Row) -> tuple[Finding, ...]:
    beside = _counterpart(report, row)
    return (_qps(report, row, beside), _p95(row, beside), _cpu(report, row, beside))


def _why(verdict: str, beside: _Counterpart) -> tuple[Statement, ...]:
    return beside.why if verdict == NOT_MEASURED else ()


def _seen(
    beside: _Counterpart, of: Callable[[MeasuredPoint], Estimate | None], key: str
) -> tuple[Statement, ...]:
    return tuple(Statement(key, {"users": p.users, "value": of(p)}) for p in beside.points)


def _verdict(
    claimed: float, beside: _Counterpart, of: Callable[[MeasuredPoint], Estimate | None]
) -> str:
    return (
        judge(claimed, *(of(point) for point in beside.points)) if beside.points else NOT_MEASURED
    )


def _qps(report: Report, row: Row, beside: _Counterpart) -> Finding:
    there, here = (1, 1) if beside.alone else (report.article.cores, report.bench.cores)

    def share(point: MeasuredPoint) -> Estimate:
        return point.qps.times(1 / here)

    claimed = row.qps / there
    sums = [] if beside.alone else [
        Statement("per_core", {"quoted_qps": row.qps, "quoted_cores": there, "per_core": claimed})
    ]  # fmt: skip
    sums += [
        Statement(
            "alone_here" if beside.alone else "per_core_here",
            {
                "users": point.users, "qps": point.qps.value, "quoted_qps": row.qps,
                "here_cores": here, "per_core": point.qps.value / here,
                "times": point.qps.value / here / claimed,
            },
        )
        for point in beside.points
    ]  # fmt: skip
    verdict = _verdict(claimed, beside, share)
    return Finding(
        "qps",
        verdict,
        {"users": row.users, "quoted_qps": row.qps},
        _seen(beside, lambda point: point.qps, "qps"),
        (*sums, *_why(verdict, beside)),
    )


def _p95(row: Row, beside: _Counterpart) -> Finding:
    little = {
        "quoted_users": row.users, "quoted_qps": row.qps, "mean": row.mean_ms,
        "quoted_p95": row.p95_ms, "tail": row.tail_ms,
    }  # fmt: skip
    sums = [Statement("possible" if row.plausible else "little", little)]
    sums += [
        Statement("times", {"users": point.users, "times": point.p95_ms.value / row.p95_ms})
        for point in beside.points
        if point.p95_ms is not None
    ]
    verdict = _verdict(row.p95_ms, beside, lambda point: point.p95_ms)
    return Finding(
        "p95",
        verdict if row.plausible else CONTRADICTORY,
        {"users": row.users, "quoted_p95": row.p95_ms},
        _seen(beside, lambda point: point.p95_ms, "p95"),
        (*sums, *_why(verdict, beside)),
    )


def _cpu(report: Report, row: Row, beside: _Counterpart) -> Finding:
    cores = report.bench.cores
    # Alone, cores in use are compared: a percent of eight cores is none of two.
    there, here = (report.article.cores / 100, cores / 100) if beside.alone else (1.0, 1.0)

    def busy(point: MeasuredPoint) -> Estimate | None:
        used = point.server_cpu_percent
        return None if used is None else Estimate(used * here)

    sums = [
        Statement(
            "cpu_time",
            {
                "quoted_percent": row.cpu_percent, "quoted_cores": report.article.cores,
                "quoted_qps": row.qps,
                "core_ms": row.cpu_percent * 10 * report.article.cores / row.qps,
                "in_use": row.cpu_percent / 100 * report.article.cores,
            },
        )
    ]  # fmt: skip
    sums += [
        Statement(
            "cpu_time_here",
            {
                "users": point.users,
                "core_ms": point.server_cpu_percent * 10 * cores / point.qps.value,
                "in_use": point.server_cpu_percent / 100 * cores,
            },
        )
        for point in beside.points
        if point.server_cpu_percent is not None and point.qps.value
    ]
    verdict = _verdict(row.cpu_percent * there, beside, busy)
    return Finding(
        "cpu",
        verdict,
        {"users": row.users, "quoted_percent": row.cpu_percent},
        tuple(
            Statement("cpu", {"users": p.users, "cpu_percent": p.server_cpu_percent})
            for p in beside.points
        ),
        (*sums, *_why(verdict, beside)),
    )


# --- latency and sizes --------------------------------------------------------------------------


def _average(report: Report) -> Finding:
    below = report.article.claims.average_ms_below
    rows = report.article.rows
    here = [
        p
        for p in _article_points(report).values()
        if p.valid and report.article.is_of(report.header.model)
    ]
    verdict = NOT_MEASURED
    if any(row.mean_ms >= below for row in rows):
        verdict = CONTRADICTORY
    elif here:
        verdict = REPRODUCED if all(p.mean_ms < below for p in here) else NOT_REPRODUCED
    sums = [
        Statement("mean", {"quoted_users": row.users, "quoted_qps": row.qps, "mean": row.mean_ms})
        for row in rows
    ]
    kept = sum(row.mean_ms < below for row in rows)
    sums.append(Statement("means_kept", {"kept": kept, "rows": len(rows), "quoted_ms": below}))
    ours = tuple(Statement("mean", {"users": p.users, "mean": p.mean_ms}) for p in here)
    return Finding("average", verdict, {"quoted_ms": below}, ours, tuple(sums))


def _files(report: Report) -> tuple[Finding, ...]:
    article, claims = report.article, report.article.claims
    sizes = (
        {row.name: row.file_bytes for row in report.variants}
        if report.article.is_of(report.header.model)
        else {}
    )
    full, half = sizes.get(article.variant), sizes.get(article.half_variant)
    why = () if report.article.is_of(report.header.model) else (_other_model(report),)
    needed = _parameters(report.header.model["parameters"])
    halves = {"quoted_full": claims.full_file_mb, "quoted_half": claims.half_file_mb}
    claimed = claims.half_file_mb / claims.full_file_mb
    sums = [Statement("halves", halves | {"share": claimed})]
    share = None
    if full and half:
        share = Estimate(half / full)
        sums.append(
            Statement(
                "halves_here",
                {"full": full / MEGABYTE, "half": half / MEGABYTE, "share": half / full},
            )
        )
    return (
        _size("full_file", claims.full_file_mb, article.variant, full, why or (needed,)),
        _size("half_file", claims.half_file_mb, article.half_variant, half, why),
        Finding(
            "halves",
            judge(claimed, share),
            halves,
            (Statement("share", {"share": share}),) if share else (),
            (*sums, *why),
        ),
    )


def _size(
    claim: str, quoted_mb: float, what: str, size: float | None, sums: tuple[Statement, ...]
) -> Finding:
    if size is None:
        return Finding(claim, NOT_MEASURED, {"quoted_mb": quoted_mb}, (), sums)
    mb = size / MEGABYTE
    return Finding(
        claim,
        judge(quoted_mb, Estimate(mb)),
        {"quoted_mb": quoted_mb},
        (Statement("size", {"what": what, "mb": mb}),),
        (
            Statement("size_times", {"mb": mb, "quoted_mb": quoted_mb, "times": mb / quoted_mb}),
            *sums,
        ),
    )


def _evidence(report: Report, name: str) -> Mapping[str, Any]:
    """Return what the runs measured beside their cells; empty if none did, or none could."""
    for run in report.runs:
        if found := evidence_of(run, name):
            return found
    return {}


def _image(report: Report) -> Finding:
    """Judge the size of the image as a limit: what is installed, without a base image."""
    claims, found = report.article.claims, _evidence(report, IMAGE)
    quoted = {"quoted_mb": claims.image_mb}
    sums = []
    if claims.image_mb < claims.full_file_mb:
        room = {
            "quoted_image": claims.image_mb, "quoted_full": claims.full_file_mb,
            "quoted_half": claims.half_file_mb, "rest": claims.image_mb - claims.half_file_mb,
        }  # fmt: skip
        sums.append(Statement("room", room))
    size = found.get("bytes")
    if size is None:
        return Finding("image", NOT_MEASURED, quoted, (), tuple(sums))
    parts: dict[str, Value] = {
        "what": str(found.get("variant", "")),
        "mb": size / MEGABYTE,
        "quoted_mb": claims.image_mb,
        "rest": claims.image_mb - size / MEGABYTE,
    }
    kept = size <= claims.image_mb * MEGABYTE
    sums.insert(0, Statement("image_kept" if kept else "image_over", parts))
    if {"environment_bytes", "variant_bytes"} <= found.keys():
        parted = {
            "environment": found["environment_bytes"] / MEGABYTE,
            "variant": found["variant_bytes"] / MEGABYTE,
            "mb": size / MEGABYTE,
        }
        sums.insert(0, Statement("image_parts", parted))
    verdict = REPRODUCED if kept else NOT_REPRODUCED
    ours = Statement("image" if parts["what"] else "image_unnamed", parts)
    return Finding("image", verdict, quoted, (ours,), tuple(sums))


def _smaller_model(report: Report) -> tuple[Finding, ...]:
    """Judge file and latency of DistilBERT by a model of its depth, one user at a time."""
    claims, found = report.article.claims, _evidence(report, DISTILBERT)
    quoted = {"quoted_ms": claims.distilbert_ms}
    name = ", ".join(str(found[key]) for key in ("model", "variant") if key in found)
    count, mean = found.get("parameters"), found.get("mean_ms")
    size = () if count is None else (_parameters(count),)
    file = _size("small_file", claims.distilbert_mb, name, found.get("file_bytes"), size)
    if mean is None:
        return (file, Finding("small_ms", NOT_MEASURED, quoted))
    ours = Statement("small_ms", {"what": name, "users": found.get("users", 1), "mean": mean})
    times = Statement("ms_times", {"mean": mean, **quoted, "times": mean / claims.distilbert_ms})
    if found.get("invalid"):
        why = (Statement("invalid", {}),)
        return (file, Finding("small_ms", NOT_MEASURED, quoted, (ours,), why))
    verdict = judge(claims.distilbert_ms, Estimate(mean))
    return (file, Finding("small_ms", verdict, quoted, (ours,), (times,)))


def _parameters(count: int) -> Statement:
    mb = count * FLOAT_BYTES / MEGABYTE
    return Statement("parameters", {"parameters": count, "bytes": FLOAT_BYTES, "mb": mb})


def _other_model(report: Report) -> Statement:
    return Statement("other_model", {"what": str(report.header.model["name"])})
