"""Seen: what each picture shows, in sentences made of its facts, the most telling one first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ....toolkit.files import MEBIBYTE
from ...facts.capacity import keeps, percentile_of, surely_keeps
from ...facts.distributions import Distribution
from ...facts.estimates import Estimate
from ...facts.front import CostPoint
from ...facts.points import MeasuredPoint, Series
from ...facts.scaling import Axis
from ...facts.standing import Standing
from ...facts.variants import VariantRow
from ...plots.looks import Look
from ...text import figures
from ...text.language import Language
from ...text.phrases import money

Looks = Mapping[Series, Look]
Lines = Mapping[Series, Sequence[MeasuredPoint]]


def outstanding(every: Iterable[Series], looks: Looks) -> list[Series]:
    """Return the series that stand out, or the first one if none does."""
    known = sorted(every, key=lambda series: looks[series].number)
    return [series for series in known if looks[series].stands_out] or known[:1]


def latency(lines: Lines, looks: Looks, standing: Standing, language: Language) -> list[str]:
    """Say how latency grows with users, and up to how many users it keeps the objective."""
    return [
        sentence
        for series in outstanding(lines, looks)
        for sentence in _latency(lines[series], looks[series].name, standing, language)
    ]


def _latency(
    points: Sequence[MeasuredPoint], name: str, standing: Standing, language: Language
) -> Iterator[str]:
    known = [(p, found.value) for p in points if (found := percentile_of(p, standing.rank))]
    if known:
        (first, low), (last, high) = known[0], known[-1]
        yield language.say(
            "shown.latency",
            name=name,
            rank=standing.rank,
            first=figures.significant(low),
            few=language.count(first.users),
            last=figures.significant(high),
            many=language.count(last.users),
            within=_within(points, standing, language),
        )


def _within(points: Sequence[MeasuredPoint], standing: Standing, language: Language) -> str:
    """Say up to how many users the objective is kept: the whole interval, where there is one."""
    rank, limit = standing.rank, standing.limit_ms
    bounded = any((found := percentile_of(p, rank)) and found.ends for p in points)
    keep = surely_keeps if bounded else keeps
    kept = [point for point in points if keep(point, rank, limit)]
    written = figures.unrounded(limit)
    if not kept:
        return language.say("shown.never_surely" if bounded else "shown.never", limit=written)
    point = max(kept, key=lambda point: point.users)
    found = percentile_of(point, rank)
    assert found is not None, "what keeps an objective has the percentile"
    users = language.count(point.users)
    if found.ends:
        span = figures.span(*found.ends)
        return language.say("shown.within_surely", limit=written, users=users, span=span)
    value = figures.significant(found.value)
    return language.say("shown.within", limit=written, users=users, value=value)


def throughput(lines: Lines, looks: Looks, standing: Standing, language: Language) -> list[str]:
    """Say how many requests a second each carries, and by how much the first one carries more."""
    shown = outstanding(lines, looks)
    comma = str(language.words["comma"])
    at = {
        series: point.qps.value
        for series in shown
        for point in lines[series]
        if point.users == standing.users and point.qps.value > 0
    }
    sentences = []
    others = [series for series in shown[1:] if series in at]
    if others and shown[0] in at:
        qps = at[shown[0]]
        times = (
            language.say(
                "shown.times",
                other=looks[series].name,
                ratio=figures.significant(qps / at[series]),
            )
            for series in others
        )
        sentences.append(
            language.say(
                "shown.ratio",
                users=language.count(standing.users),
                name=looks[shown[0]].name,
                qps=figures.significant(qps),
                times=comma.join(times),
            )
        )
    peaks = []
    for series in shown:
        peak = max(lines[series], key=lambda point: point.qps.value)
        most = figures.significant(peak.qps.value)
        users = language.count(peak.users)
        name = looks[series].name
        peaks.append(language.say("shown.peak", name=name, qps=most, users=users))
    return [*sentences, language.say("shown.peaks", peaks=comma.join(peaks))]


def distribution(
    curves: Sequence[Distribution], looks: Looks, users: int, language: Language
) -> list[str]:
    """Say how long half of the requests and nearly all of them take."""
    own = {curve.series: curve for curve in curves}
    return [
        language.say(
            "shown.distribution",
            name=looks[series].name,
            users=language.count(users),
            p50=figures.significant(half),
            p95=figures.significant(tail),
        )
        for series in outstanding(own, looks)
        if (half := own[series].at(50.0)) and (tail := own[series].at(95.0))
    ]


def cost(
    points: Sequence[CostPoint], front: Sequence[CostPoint], looks: Looks, standing: Standing,
    language: Language,
) -> list[str]:  # fmt: skip
    """Say what the chosen point costs, and which points are on the front."""
    price = standing.price
    assert price is not None, "without a price there is no cost"
    sentences = [
        language.say(
            "shown.cost",
            name=looks[point.point.series].name,
            users=language.count(point.point.users),
            rank=standing.rank,
            amount=money(price.currency, point.cost.value, language),
            value=figures.significant(point.latency_ms.value),
        )
        for point in points
        if standing.chosen and point.point.key == standing.chosen.key
    ]
    names = (
        language.say(
            "picture.at",
            name=looks[point.point.series].name,
            users=language.count(point.point.users),
        )
        for point in front
    )
    separator = str(language.words["list"])
    return [*sentences, language.say("shown.front", names=separator.join(names))]


def stages(
    parts: Mapping[Series, Mapping[str, float]], looks: Looks, users: int, language: Language
) -> list[str]:
    """Say where the time of a request goes."""
    sentences = []
    for series in outstanding(parts, looks):
        mean = sum(parts[series].values())
        told = str(language.words["list"]).join(
            language.say(
                "shown.stage",
                stage=language.say(f"stage.{stage}"),
                ms=figures.significant(ms, 2),
                share=figures.percent(100 * ms / mean),
            )
            for stage, ms in sorted(parts[series].items(), key=lambda pair: -pair[1])[:3]
        )
        sentences.append(
            language.say(
                "shown.stages",
                name=looks[series].name,
                mean=figures.significant(mean),
                stages=told,
                users=language.count(users),
            )
        )
    return sentences


def ceiling(shares: Mapping[Series, float], looks: Looks, language: Language) -> list[str]:
    """Say how near each comes to the ceiling."""
    return [
        language.say(
            "shown.ceiling", name=looks[series].name, share=figures.percent(100 * shares[series])
        )
        for series in outstanding(shares, looks)
    ]


def size(
    rows: Mapping[Series, VariantRow],
    memory: Mapping[str, int],
    baseline: str,
    looks: Looks,
    language: Language,
) -> list[str]:
    """Say how large the files are beside the baseline's, and what memory they take."""
    base = next((row.file_bytes for row in rows.values() if row.name == baseline), None)
    sentences = []
    for series in outstanding(rows, looks):
        row, parts = rows[series], []
        if row.file_bytes:
            key = "file_ratio" if base and row.name != baseline else "file"
            ratio = figures.significant(row.file_bytes / (base or 1), 2)
            file = figures.megabytes(row.file_bytes)
            parts.append(language.say(f"shown.{key}", file=file, other=baseline, ratio=ratio))
        if row.name in memory:
            used = f"{memory[row.name] / MEBIBYTE:.0f}"
            parts.append(language.say("shown.memory", memory=used))
        if parts:
            said = str(language.words["comma"]).join(parts)
            sentences.append(language.say("shown.size", name=row.name, parts=said))
    return sentences


def growth(axes: Sequence[Axis], looks: Looks, language: Language) -> list[str]:
    """Say how much latency or throughput changes from an axis's lowest level to its highest."""
    return [
        language.say(
            f"shown.{axis.name}",
            name=looks[series].name,
            first=axis.level(low),
            last=axis.level(high),
            ratio=figures.significant(ratio),
        )
        for axis in axes
        for series in outstanding(dict.fromkeys(p.series for p in axis.points), looks)
        for low, high, ratio in _grown(axis, series)
    ]


def _grown(axis: Axis, series: Series) -> Iterator[tuple[MeasuredPoint, MeasuredPoint, float]]:
    known = [
        (point, found.value)
        for point in axis.points
        if point.series == series and (found := axis_value(axis, point)) and found.value > 0
    ]
    if len(known) > 1:
        (low, before), (high, after) = known[0], known[-1]
        yield low, high, after / before


def axis_value(axis: Axis, point: MeasuredPoint) -> Estimate | None:
    """Return what is shown of a point on an axis: P50 by length, else sentences a second."""
    return point.p50_ms if axis.name == "tokens" else point.sentences
