"""Standing: which points and variants the pictures bring out, and at which load they compare.

The only place where the pictures read what a report decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...toolkit.runs.load import REFERENCE_STACK
from .points import MeasuredPoint, Series
from .prices import Price
from .report import Report

MOST = 4  # variants that stand out; more could not be told apart by colour


@dataclass(frozen=True)
class Standing:
    """What the pictures bring out.

    ``chosen`` is the point of the leading candidate, None if nothing leads (or a search found it);
    ``series`` stand out, the leading one first, and ``variants``, theirs, have a colour each.
    ``baseline`` is the unchanged FP32 variant that others are compared with ("" if none was
    measured), ``refused`` are those that the gate keeps from being chosen.  ``users`` is the load
    at which variants are compared, 0 if no plain point was measured.  The objective is that
    percentile ``rank`` is at most ``limit_ms``.
    """

    chosen: MeasuredPoint | None
    series: tuple[Series, ...]
    variants: tuple[str, ...]
    baseline: str
    refused: frozenset[str]
    users: int
    rank: int
    limit_ms: float
    price: Price | None


def standing(report: Report) -> Standing:
    """Return what the pictures of a report bring out."""
    answer, asked = report.answer, report.question
    leading = answer.leading.capacity if answer.leading else None
    chosen = leading.point if leading else None
    measured = {point.variant for point in report.shown_points}
    baseline = _baseline(report, measured)
    named = [one for one in _outstanding(report, baseline) if one[0] in measured]
    variants = tuple(dict.fromkeys(variant for variant, _ in named))[:MOST]
    return Standing(
        chosen,
        tuple(dict.fromkeys(one for one in named if one[0] in variants)),
        variants,
        baseline,
        frozenset(each.variant for each in answer.candidates if each.refusal),
        chosen.users if chosen else _usual_users(report.points),
        asked.rank,
        asked.limit_ms,
        asked.price,
    )


def _outstanding(report: Report, baseline: str) -> Iterator[Series]:
    """Yield the series that stand out: leading, its rival, FP32, the article's, other rivals."""
    answer = report.answer
    rivals = [each.series for each in answer.tied]
    rivals += [answer.runner_up.series] if answer.runner_up else []
    if answer.leading:
        yield answer.leading.series
    elif answer.closest:
        yield answer.closest.series
    yield from rivals[:1]
    yield baseline, REFERENCE_STACK
    yield from (point.series for point in report.article_points.values())
    yield from rivals[1:]


def _baseline(report: Report, measured: set[str]) -> str:
    """Return the article's own variant, else the first whose name says FP32."""
    if report.article.variant in measured:
        return report.article.variant
    return next((row.name for row in report.variants if "fp32" in row.name.lower()), "")


def _usual_users(points: Sequence[MeasuredPoint]) -> int:
    """Return the load under which the most series were measured, of several the highest."""
    counts = Counter(point.users for point in points)
    return max(counts, key=lambda users: (counts[users], users), default=0)
