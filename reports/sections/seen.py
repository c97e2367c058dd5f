"""Seen: what each picture shows, in sentences made of its facts, the most telling one first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ...toolkit.files import MEBIBYTE
from ..facts.capacity import is_usable, percentile_of
from ..facts.distributions import Distribution
from ..facts.estimates import Estimate
from ..facts.front import CostPoint
from ..facts.points import MeasuredPoint, Series
from ..facts.scaling import Axis
from ..facts.standing import Standing
from ..facts.variants import VariantRow
from ..plots.looks import Look
from ..text import figures
from ..text.language import Language
from ..text.phrases import money

Looks = Mapping[Series, Look]
Lines = Mapping[Series, Sequence[MeasuredPoint]]


def outstanding(every: Iterable[Series], looks: Looks) -> list[Series]:
    """Return the series that stand out, or the first one if none does."""
    known = list(every)
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
    rank, limit = standing.rank, figures.unrounded(standing.limit_ms)
    known = [(p, found.value) for p in points if (found := percentile_of(p, rank))]
    if not known:
        return
    (first, low), (last, high) = known[0], known[-1]
    if len(known) > 1:
        yield language.say(
            "shown.latency",
            name=name,
            rank=rank,
            first=figures.significant(low),
            few=language.count(first.users),
            last=figures.significant(high),
            many=language.count(last.users),
        )
    kept = [(p, value) for p, value in known if value <= standing.limit_ms and is_usable(p)]
    if not kept:
        yield language.say("shown.never", name=name, rank=rank, limit=limit)
        return
    point, value = max(kept, key=lambda pair: pair[0].users)
    yield language.say(
        "shown.within",
        name=name,
        rank=rank,
        limit=limit,
        users=language.count(point.users),
        value=figures.significant(value),
    )


def throughput(lines: Lines, looks: Looks, standing: Standing, language: Language) -> list[str]:
    """Say how many requests a second each carries, and by how much the first one carries more."""
    shown = outstanding(lines, looks)
    peaks = [max(lines[series], key=lambda point: point.qps.value) for series in shown]
    at = {
        series: point
        for series in shown
        for point in lines[series]
        if point.users == standing.users and point.qps.value > 0
    }
    sentences = []
    if shown and shown[0] in at:
        first = at[shown[0]]
        for series in shown[1:]:
            if series in at:
                sentences.append(
                    language.say(
                        "shown.ratio",
                        users=language.count(standing.users),
                        name=looks[shown[0]].name,
                        other=looks[series].name,
                        ratio=figures.significant(first.qps.value / at[series].qps.value),
                        qps=figures.significant(first.qps.value),
                        less=figures.significant(at[series].qps.value),
                    )
                )
    sentences += [
        language.say(
            "shown.throughput",
            name=looks[series].name,
            users=language.count(peak.users),
            qps=figures.significant(peak.qps.value),
        )
        for series, peak in zip(shown, peaks, strict=True)
    ]
    return sentences


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
    """Say which point is the cheapest within the objective, and which are on the front."""
    price = standing.price
    assert price is not None, "without a price there is no cost"
    able = [point for point in points if point.point.variant not in standing.refused]
    within = [point for point in able if point.latency_ms.value <= standing.limit_ms]
    best = min(within, key=lambda point: point.cost.value, default=None)
    best = best or min(able, key=lambda point: point.latency_ms.value, default=None)
    sentences = []
    if best:
        sentences.append(
            language.say(
                "shown.cost" if within else "shown.cost_beyond",
                limit=figures.unrounded(standing.limit_ms),
                name=looks[best.point.series].name,
                users=language.count(best.point.users),
                rank=standing.rank,
                amount=money(price.currency, best.cost.value, language),
                value=figures.significant(best.latency_ms.value),
            )
        )
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
    rows: Mapping[Series, VariantRow], memory: Mapping[str, int], baseline: str, looks: Looks,
    language: Language,
) -> list[str]:  # fmt: skip
    """Say how large the files are beside the baseline's, and what memory they take."""
    base = next((row.file_bytes for row in rows.values() if row.name == baseline), None)
    sentences = []
    for series in outstanding(rows, looks):
        row = rows[series]
        if row.file_bytes:
            key = "size_ratio" if base and row.name != baseline else "size"
            sentences.append(
                language.say(
                    f"shown.{key}",
                    name=row.name,
                    file=figures.megabytes(row.file_bytes),
                    other=baseline,
                    ratio=figures.significant(row.file_bytes / (base or 1), 2),
                )
            )
        if row.name in memory:
            sentences.append(
                language.say(
                    "shown.memory", name=row.name, memory=f"{memory[row.name] / MEBIBYTE:.0f}"
                )
            )
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
