"""Candidates: each served variant as an answer to a question, with what is not known of it.

Only plain points count: a closed loop over the gold set, so that every variant did the same work.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...toolkit.runs.load import ARTICLE_STACK
from .capacity import Capacity, Searched, capacity, is_usable, percentile_of
from .costs import MeasuredMachine, Range, instance_capacity, instances_range, per_million
from .planned import Planned
from .points import MeasuredPoint, Series
from .prices import Price
from .question import Question
from .variants import VariantRow


@dataclass(frozen=True)
class Reason:
    """Why there is no decision, or why a variant is none: a code and what it is about.

    Codes and what they are about: "cut" (``measured`` of ``planned`` cells); "invalid", "missing"
    (``variant``, ``stack``, ``users``: a list), "too-few" (the same, and ``qps``: the most of these
    levels); "once" (no repeats), "no-interval" (``variant``, ``stack``, ``users``); "unsure" (the
    same, ``value``, ``high``: the percentile keeps the objective, its upper bound does not);
    "gate-failed" (``variant``, ``reasons``), "no-gate", "not-judged", "at-chance" (``variant``);
    "no-point".
    """

    code: str
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """A series as an answer to the question.

    ``capacity`` is None if it does not keep the objective (or may not be recommended: ``refusal``).
    ``each`` is what an instance is planned for, after headroom; ``instances``, ``monthly`` and
    ``per_million`` are for the question's load, with the ends that the ends of ``each`` give.
    """

    series: Series
    capacity: Capacity | None = None
    percentile_ms: float | None = None
    refusal: str = ""
    gaps: tuple[Reason, ...] = ()
    each: Range | None = None
    instances: tuple[int, int, int] | None = None
    monthly: Range | None = None
    per_million: Range | None = None

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.series[0]

    @property
    def stack(self) -> str:
        """The server's name."""
        return self.series[1]


@dataclass(frozen=True)
class Evidence:
    """What an answer rests on: plain points, searches, variants, what was planned, the machine.

    ``gpu`` are the plain points of a machine with an accelerator, of variants that passed the gate.
    """

    points: Sequence[MeasuredPoint]
    searches: Sequence[Searched]
    variants: Sequence[VariantRow]
    planned: Planned
    bench: MeasuredMachine
    prices: Sequence[Price] = ()
    gpu: Sequence[MeasuredPoint] = ()

    def left(self, without: Collection[str]) -> Evidence:
        """Return the evidence of the variants that are left without some of them."""
        levels = self.planned.levels.items()
        return replace(
            self,
            points=tuple(each for each in self.points if each.variant not in without),
            searches=tuple(each for each in self.searches if each.series[0] not in without),
            variants=tuple(each for each in self.variants if each.name not in without),
            planned=replace(
                self.planned, levels={key: users for key, users in levels if key[0] not in without}
            ),
        )


def series_of(evidence: Evidence) -> Iterator[Series]:
    """Yield every series that was measured, planned or searched, each once."""
    measured = [point.series for point in evidence.points]
    found = [search.series for search in evidence.searches]
    yield from dict.fromkeys((*measured, *evidence.planned.levels, *found))


def candidate(series: Series, asked: Question, evidence: Evidence) -> Candidate:
    """Return a series as a candidate, without instances and money."""
    row = next((row for row in evidence.variants if row.name == series[0]), None)
    if refusal := refusal_of(row):
        return Candidate(series, refusal=refusal)
    own = [point for point in evidence.points if point.series == series]
    searches = [search for search in evidence.searches if search.series == series]
    found = capacity(own, searches, asked.rank, asked.limit_ms)
    by_search = found is not None and found.search is not None
    latency = None
    if found and found.point and (known := percentile_of(found.point, asked.rank)):
        latency = known.value
    gaps = () if by_search else tuple(_gaps(series, own, asked.rank, evidence.planned))
    return Candidate(series, found, latency, "", gaps)


def refusal_of(row: VariantRow | None) -> str:
    """Return why a variant may not be recommended; "" if it may."""
    if row is None or row.gate is None:
        return "no-gate"
    if not row.gate.passed:
        return "gate-failed"
    if not row.gate.judged:
        return "not-judged"
    return "at-chance" if row.gate.at_chance else ""


def _gaps(
    series: Series, own: Sequence[MeasuredPoint], rank: int, planned: Planned
) -> Iterator[Reason]:
    """Yield what is not known of a series: levels that are missing, invalid, or too short."""
    if series[1] == ARTICLE_STACK:
        return  # the yardstick: nothing is decided against it
    there = {point.users: point for point in own}
    levels = planned.levels.get(series, ())
    missing = [users for users in levels if users not in there]
    invalid = [users for users in levels if users in there and not is_usable(there[users])]
    about = {"variant": series[0], "stack": series[1]}
    for code, users in (("missing", missing), ("invalid", invalid)):
        if users:
            yield Reason(code, {**about, "users": users})
    known = [there[users] for users in levels if users in there and is_usable(there[users])]
    few = [point for point in known if percentile_of(point, rank) is None]
    if few:
        most = max(point.qps.high or point.qps.value for point in few)
        yield Reason("too-few", {**about, "users": [p.users for p in few], "qps": most})


def on_price(qps: Range, price: Price | None, bench: MeasuredMachine) -> Range:
    """Return requests a second of one priced instance; without a price, of the measured machine."""
    return qps if price is None else instance_capacity(qps, price, bench)


def priced(each: Candidate, asked: Question, bench: MeasuredMachine) -> Candidate:
    """Return a candidate with instances and money for the question's load."""
    if each.capacity is None or asked.load is None:
        return each
    planned_for = on_price(each.capacity.qps, asked.price, bench).times(1 - asked.headroom)
    counts = instances_range(asked.load, planned_for, asked.instances)
    each = replace(each, each=planned_for, instances=counts)
    if asked.price is None:
        return each
    monthly = Range(*(count * asked.price.monthly for count in counts))
    served = asked.load * asked.utilisation
    million = None
    if served > 0:
        million = Range(*(per_million(month, served) for month in _ends(monthly)))
    return replace(each, monthly=monthly, per_million=million)


def by_interval(each: Candidate, asked: Question, bench: MeasuredMachine) -> tuple[int, int, int]:
    """Return the instances that the interval of the measurement alone gives.

    The figure, the least and the most, as in :attr:`Candidate.instances`, were a vCPU of the priced
    machine what was measured.  The candidate has a capacity, the question a load.
    """
    assert each.capacity is not None
    assert asked.load is not None
    price = asked.price and replace(asked.price, threads_per_core=None)
    planned_for = on_price(each.capacity.qps, price, bench).times(1 - asked.headroom)
    return instances_range(asked.load, planned_for, asked.instances)


def _ends(figure: Range) -> tuple[float, float, float]:
    return (figure.value, figure.low, figure.high)


def place(each: Candidate) -> tuple[int, float, float, Series]:
    """Return the sort key of candidates: fewest instances, then highest capacity, then name."""
    if each.capacity is None or each.instances is None:
        return (1 if not each.refusal else 2, 0.0, 0.0, each.series)
    return (0, each.instances[0], -each.capacity.qps.value, each.series)
