"""The answer: which variant, on how many instances, for how much money, and how sure that is.

All points come from one machine, so a series with more requests a second within the objective is
never the dearer one.  Only plain points count: a closed loop over the gold set, so that every
variant did the same work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .candidates import (
    Candidate,
    Evidence,
    Reason,
    candidate,
    on_price,
    place,
    priced,
    refusal_of,
    series_of,
)
from .capacity import (
    capacity,
    closest,
    finite_percentile,
    is_usable,
    keeps,
    percentile_of,
)
from .costs import (
    MeasuredMachine,
    Offer,
    Range,
    accelerated,
    bound_without_speed,
    break_even,
    usable,
)
from .estimates import Estimate
from .points import MeasuredPoint
from .prices import Price
from .question import Question

Status = Literal["decided", "tie", "undecided", "nothing-holds", "nothing"]


@dataclass(frozen=True)
class Accelerated:
    """A machine with an accelerator beside the answer.

    Args:
        price: what it costs.
        up_to: the load up to which it cannot pay, however fast it is, at an instance's low end.
        measured: requests a second of one such machine within the objective, if a run was given.
        pays_above: the load above which the measured one first costs less; None: it never does, or
            none was measured.

    """

    price: Price
    up_to: float
    measured: Range | None = None
    pays_above: float | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        question: the question, its load filled in if there is a leading candidate.
        status: "decided", "tie" (``tied`` cannot be told from the leading one), "undecided" (for
            ``reasons``; the leading one is what speaks for itself so far), "nothing-holds" (no
            candidate keeps the objective; ``closest``), "nothing" (none may be recommended).
        leading: the candidate to deploy; of several tied ones that of the lowest percentile.
        tied: candidates whose capacity cannot be told from the leading one's.
        runner_up: the best candidate of another variant that is not tied.
        closest: the point with the lowest percentile where nothing keeps the objective.
        candidates: every series, the best first, those without an answer last.
        accelerator: what is known of a machine with a GPU, without measuring one.
        notes: levels that might carry more than the leading candidate, were they sure ("unsure").

    """

    question: Question
    status: Status
    reasons: tuple[Reason, ...] = ()
    leading: Candidate | None = None
    tied: tuple[Candidate, ...] = ()
    runner_up: Candidate | None = None
    closest: MeasuredPoint | None = None
    candidates: tuple[Candidate, ...] = ()
    accelerator: Accelerated | None = None
    notes: tuple[Reason, ...] = ()

    @property
    def point(self) -> MeasuredPoint | None:
        """The measured point behind the leading candidate, or the closest one."""
        if self.leading is None or self.leading.capacity is None:
            return self.closest
        return self.leading.capacity.point


def answer(asked: Question, evidence: Evidence) -> Answer:
    """Answer a question from evidence of one machine."""
    candidates = [candidate(series, asked, evidence) for series in series_of(evidence)]
    able = [each for each in candidates if each.capacity is not None]
    asked = _with_load(asked, able, evidence.bench)
    found = sorted((priced(each, asked, evidence.bench) for each in candidates), key=place)
    able = [each for each in found if each.capacity is not None]
    if not able:
        return _without(asked, found, evidence)
    tied = tuple(_tied(able))
    leading = min((able[0], *tied), key=_percentile)
    tied = tuple(each for each in (able[0], *tied) if each is not leading)
    reasons = tuple(_reasons(leading, found, evidence))
    others = (each for each in able if each is not leading and each not in tied)
    return Answer(
        asked,
        "undecided" if reasons else "tie" if tied else "decided",
        reasons,
        leading,
        tied,
        next((each for each in others if each.variant != leading.variant), None),
        None,
        tuple(found),
        _accelerated(leading, asked, evidence),
        tuple(_hopes(leading, found, asked, evidence.points)),
    )


def _with_load(asked: Question, able: Sequence[Candidate], bench: MeasuredMachine) -> Question:
    """Return the question with its load: by default what one instance of the best carries.

    Of several that are tied it is the least of them, so that one instance of each suffices.
    """
    if asked.load is not None or not able:
        return asked
    falling = sorted(able, key=lambda each: -each.capacity.qps.value if each.capacity else 0.0)
    level = (falling[0], *_tied(falling))
    least = min(each.capacity.qps.value for each in level if each.capacity)
    carried = on_price(Range(least, least, least), asked.price, bench).value
    return replace(asked, load=_floor(usable(carried, asked.headroom)))


def _floor(value: float) -> float:
    """Return a number rounded down to three significant digits.

    >>> _floor(61.287), _floor(0.045678), _floor(1234.5)
    (61.2, 0.0456, 1230.0)
    """
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / step * (1 + 1e-12)) * step:.6g}")


def _percentile(each: Candidate) -> tuple[float, float]:
    value = math.inf if each.percentile_ms is None else each.percentile_ms
    return (value, -each.capacity.qps.value if each.capacity else 0.0)


def _tied(able: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield the candidates whose capacity cannot be told from the first one's."""
    first = able[0].capacity
    assert first is not None
    for other in able[1:]:
        found = other.capacity
        bounded = found is not None and first.bounded and found.bounded
        if bounded and found is not None and first.qps.overlaps(found.qps):
            yield other


def _reasons(
    leading: Candidate, candidates: Sequence[Candidate], evidence: Evidence
) -> Iterator[Reason]:
    """Yield why a decision cannot be made yet."""
    planned = evidence.planned
    if planned.measured < planned.cells:
        yield Reason("cut", {"measured": planned.measured, "planned": planned.cells})
    found = leading.capacity
    assert found is not None
    if not found.bounded:
        yield _unbounded(leading)
    for each in candidates:
        for gap in each.gaps:  # a level with fewer requests a second decides nothing
            if gap.code != "too-few" or gap.about["qps"] >= found.qps.low:
                yield gap


def _unbounded(leading: Candidate) -> Reason:
    """Say why the leading candidate's capacity has no interval."""
    point = leading.capacity.point if leading.capacity else None
    if point is None or point.repeats == 1:
        return Reason("once", {"variant": leading.variant})
    about = {"variant": leading.variant, "stack": leading.stack, "users": [point.users]}
    return Reason("no-interval", about)


def _hopes(
    leading: Candidate,
    candidates: Sequence[Candidate],
    asked: Question,
    points: Sequence[MeasuredPoint],
) -> Iterator[Reason]:
    """Yield the levels with more requests a second whose percentile alone keeps the objective."""
    assert leading.capacity is not None
    open_to = {each.series for each in candidates if not each.refusal}
    for point in points:
        bound = percentile_of(point, asked.rank)
        if (
            point.series in open_to
            and point.qps.value > leading.capacity.qps.value
            and keeps(point, asked.rank, asked.limit_ms)
            and bound is not None
            and bound.high is not None
            and bound.high > asked.limit_ms  # of a tied one it may hold
        ):
            yield _unsure(point, bound)


def _unsure(point: MeasuredPoint, found: Estimate) -> Reason:
    about = {"variant": point.variant, "stack": point.stack, "users": [point.users]}
    return Reason("unsure", {**about, "value": found.value, "high": found.high})


def _accelerated(leading: Candidate, asked: Question, evidence: Evidence) -> Accelerated | None:
    """Return from which load on a comparable machine with a GPU may pay, or pays."""
    if asked.price is None or leading.each is None:
        return None
    other = asked.gpu_price or accelerated(asked.price, evidence.prices)
    if other is None:
        return None
    one = Offer(asked.price.monthly, leading.each.value)
    surely = Offer(asked.price.monthly, leading.each.low)
    up_to = bound_without_speed(surely, other.monthly, asked.instances)
    found = capacity(evidence.gpu, (), asked.rank, asked.limit_ms)
    if found is None:
        return Accelerated(other, up_to)
    two = Offer(other.monthly, usable(found.qps.value, asked.headroom))
    return Accelerated(other, up_to, found.qps, break_even(one, two, asked.instances))


def _without(asked: Question, candidates: Sequence[Candidate], evidence: Evidence) -> Answer:
    """Return the answer where no candidate keeps the objective or none may be recommended."""
    open_to = [each for each in candidates if not each.refusal]
    usable_points = [
        point
        for point in evidence.points
        if any(each.series == point.series for each in open_to)
        and is_usable(point)
        and finite_percentile(point, asked.rank)
    ]
    reasons = list(_reasons_without(asked, candidates, usable_points, evidence))
    near = closest(usable_points, asked.rank)
    gaps = any(each.gaps for each in open_to) or evidence.planned.measured < evidence.planned.cells
    status: Status = "nothing"
    if near is not None:
        status = "undecided" if gaps or _nearly(usable_points, asked) else "nothing-holds"
    elif open_to:
        status = "undecided"
    return Answer(asked, status, tuple(reasons), closest=near, candidates=tuple(candidates))


def _nearly(points: Iterable[MeasuredPoint], asked: Question) -> list[MeasuredPoint]:
    """Return the points whose percentile keeps the objective though its upper bound does not."""
    return [point for point in points if keeps(point, asked.rank, asked.limit_ms)]


def _reasons_without(
    asked: Question,
    candidates: Sequence[Candidate],
    points: Sequence[MeasuredPoint],
    evidence: Evidence,
) -> Iterator[Reason]:
    planned = evidence.planned
    if planned.measured < planned.cells:
        yield Reason("cut", {"measured": planned.measured, "planned": planned.cells})
    for point in _nearly(points, asked):
        found = percentile_of(point, asked.rank)
        assert found is not None
        yield _unsure(point, found)
    for each in candidates:
        yield from each.gaps
    if not any(not each.refusal for each in candidates):
        for row in evidence.variants:
            code = refusal_of(row)
            told = row.gate.reasons if row.gate and code == "gate-failed" else ()
            yield Reason(code, {"variant": row.name, "reasons": told})
    elif not points and not any(each.gaps for each in candidates):
        yield Reason("no-point")
