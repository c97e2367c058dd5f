"""The gate's verdict: a variant's answers against the gold answers and the reference's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..building.recipes import INDEPENDENT, REFERENCE, Promise
from ..engines.outputs import TOP
from ..engines.predictor import Ranked, Ranking
from .answers import Answers
from .batching import Batching
from .fidelity import Fidelity, delta, fidelity, no_distribution
from .gold import GoldItem, GoldSet
from .guessing import Guessing, guessing

DIGITS = 5  # of a probability in a record


@dataclass(frozen=True)
class Hits:
    """Share of items whose gold answer came first, or among the first five.

    ``top1_agreement`` is the share whose best token is the reference's (None: not compared).
    """

    items: int
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float | None = None


@dataclass(frozen=True)
class Flip:
    """An item whose best token is not the reference's; both top-5, rounded to ``DIGITS``."""

    id: str
    text: str
    answer: str
    reference: str
    variant: str
    reference_top5: Ranking = ()
    variant_top5: Ranking = ()


@dataclass(frozen=True)
class Furthest:
    """The question whose answer diverges most: its text, and which [MASK] of it (from 1)."""

    id: str
    text: str
    mask: int
    reference_top5: Ranking
    variant_top5: Ranking


@dataclass(frozen=True)
class Agreement:
    """How similar the answers are to the reference's.

    ``top1``, ``top5`` (as a set) and ``order`` (the top-5 as a sequence) are shares of gold items
    in 0..1; ``max_delta``, ``far`` (see fidelity.py) and ``furthest`` are over gold and probe
    sentences.
    """

    top1: float
    top5: float
    order: float
    max_delta: float
    far: Fidelity
    flipped: Sequence[Flip] = ()
    furthest: Furthest | None = None


NO_AGREEMENT = Agreement(0.0, 0.0, 0.0, 1.0, Fidelity(0.0, 0.0, ""))
"""The agreement of a variant that gave no answers."""


@dataclass(frozen=True)
class Check:
    """The gate's result for one variant.

    ``reasons`` has a line for every promise that is broken.  ``agreement`` is None if there is no
    reference to compare with.  ``batch`` is None if nobody tested whether answers depend on the
    batch.  ``judged`` is false if there is neither a reference nor a promised hit@5: such a
    variant passes, but is not recommended.  ``guessing`` (None: it gave no answers) tells whether
    it, or the reference it is held to, knows any answers at all (see guessing.py).
    """

    variant: str
    hits: Hits
    categories: Mapping[str, Hits]
    reasons: Sequence[str]
    agreement: Agreement | None
    batch: Batching | None = None
    judged: bool = True
    guessing: Guessing | None = None

    @property
    def warnings(self) -> list[str]:
        """What is wrong beside broken promises: a sentence each."""
        if self.guessing is None or not self.guessing.at_chance:
            return []
        return [
            f"hit@5 is {self.hit_at_5:.1%}, guessing would give {self.guessing.hit_at_5:.1%}: the"
            " model does not know these answers, so nothing made of it is recommended"
        ]

    @property
    def passed(self) -> bool:
        """Whether every promise is met."""
        return not self.reasons

    @property
    def hit_at_1(self) -> float:
        """Share of items whose gold answer came first."""
        return self.hits.hit_at_1

    @property
    def hit_at_5(self) -> float:
        """Share of items whose gold answer was among the first five."""
        return self.hits.hit_at_5

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object; without a reference, its figures are null."""
        alike = self.agreement
        return {
            "variant": self.variant,
            "passed": self.passed,
            "hit_at_1": self.hit_at_1,
            "hit_at_5": self.hit_at_5,
            "top1_agreement": alike and alike.top1,
            "top5_agreement": alike and alike.top5,
            "order_agreement": alike and alike.order,
            "max_delta": alike and alike.max_delta,
            "categories": {name: asdict(hits) for name, hits in self.categories.items()},
            "reasons": list(self.reasons),
            "flipped": [asdict(flip) for flip in alike.flipped] if alike else [],
            "divergence": alike and alike.far.mean,
            "worst_divergence": alike and alike.far.worst,
            "worst": alike.far.worst_id if alike else "",
            "furthest": alike and alike.furthest and asdict(alike.furthest),
            "batch": self.batch and asdict(self.batch),
            "judged": self.judged,
            "guessing": self.guessing and asdict(self.guessing),
            "warnings": self.warnings,
        }


def check(
    answers: Answers,
    reference: Answers | None,
    gold: GoldSet,
    promise: Promise,
    batch: Batching | None = None,
    probes: Mapping[str, str] | None = None,
) -> Check:
    """Compare one variant's answers with the gold answers and, if there is one, the reference's.

    ``probes`` are the probe sentences by id, for the record.
    """
    hits = overall(answers, gold)
    reasons = _too_few(promise, hits.hit_at_5)
    agreement = None
    guesses = guessing(answers, gold)
    if reference is not None:
        at_chance = guesses.at_chance or guessing(reference, gold).at_chance
        guesses = replace(guesses, at_chance=at_chance)
        agreement = agreement_of(answers, reference, gold, probes or {})
        reasons += _differing(promise, agreement)
        reasons += _lost(promise, hits, overall(reference, gold))
        reasons += _unfaithful(promise, agreement.far)
    reasons += _dependent(batch)
    if wrong := no_distribution(answers.everything()):
        reasons.append(wrong)
    judged = reference is not None or promise.hit_at_5 > 0
    categories = by_category(answers, reference, gold)
    return Check(answers.variant, hits, categories, reasons, agreement, batch, judged, guesses)


def broken(variant: str, reason: str) -> Check:
    """Return the result of a variant that could not be asked at all."""
    return Check(variant, Hits(0, 0.0, 0.0), {}, [reason], NO_AGREEMENT)


def agreement_of(
    answers: Answers, reference: Answers, gold: GoldSet, probes: Mapping[str, str]
) -> Agreement:
    """Compare a variant's answers with the reference's."""
    pairs = [(answers.rankings[i.id], reference.rankings[i.id]) for i in gold.items]
    flipped = [
        Flip(
            item.id, item.text, item.answer, theirs[0].token, ours[0].token,
            _five(theirs), _five(ours),
        )
        for item, (ours, theirs) in zip(gold.items, pairs, strict=True)
        if ours[0].token != theirs[0].token
    ]  # fmt: skip
    count = len(gold.items)
    same_set = sum(set(_top(ours)) == set(_top(theirs)) for ours, theirs in pairs) / count
    same_order = sum(_top(ours) == _top(theirs) for ours, theirs in pairs) / count
    everything, standard = answers.everything(), reference.everything()
    largest = max(delta(everything[name], theirs) for name, theirs in standard.items())
    far = fidelity(everything, standard)
    text, mask = _question(far.worst_id, gold, probes)
    furthest = Furthest(
        far.worst_id, text, mask, _five(standard[far.worst_id]), _five(everything[far.worst_id])
    )
    return Agreement(
        1 - len(flipped) / count, same_set, same_order, largest, far, flipped, furthest
    )


def _question(name: str, gold: GoldSet, probes: Mapping[str, str]) -> tuple[str, int]:
    """Return the sentence of an answer's id, and which of its masks was answered."""
    for item in gold.items:
        if item.id == name:
            return item.text, 1
    probe, _, number = name.rpartition(".")
    return probes.get(probe, ""), int(number)


def _five(ranking: Ranking) -> Ranking:
    return [Ranked(token, round(score, DIGITS)) for token, score in ranking[:TOP]]


def overall(answers: Answers, gold: GoldSet) -> Hits:
    """Return hit@1 and hit@5 over the whole gold set."""
    return _hits(answers, None, gold.items)


def by_category(answers: Answers, reference: Answers | None, gold: GoldSet) -> dict[str, Hits]:
    """Return the hits of each category, in the order in which categories first occur."""
    categories = dict.fromkeys(item.category for item in gold.items)
    return {
        name: _hits(answers, reference, [item for item in gold.items if item.category == name])
        for name in categories
    }


def _hits(answers: Answers, reference: Answers | None, items: Sequence[GoldItem]) -> Hits:
    tops = [(_top(answers.rankings[item.id]), item.answer) for item in items]
    first = sum(top[0] == answer for top, answer in tops)
    among = sum(answer in top for top, answer in tops)
    count = len(tops)
    if reference is None:
        return Hits(count, first / count, among / count)
    same = sum(
        answers.rankings[item.id][0].token == reference.rankings[item.id][0].token for item in items
    )
    return Hits(count, first / count, among / count, same / count)


def _top(ranking: Ranking) -> list[str]:
    return [entry.token for entry in ranking[:TOP]]


def _differing(promise: Promise, agreement: Agreement) -> list[str]:
    reasons = []
    if agreement.top1 < promise.top1_agreement:
        reasons.append(
            f"same top-1 as {REFERENCE} on {agreement.top1:.1%},"
            f" promised {promise.top1_agreement:.1%}"
        )
    top5 = agreement.order if promise.ordered else agreement.top5
    if top5 < promise.top5_agreement:
        order = "in the same order " if promise.ordered else ""
        reasons.append(f"same top-5 {order}on {top5:.1%}, promised {promise.top5_agreement:.1%}")
    if promise.max_delta is not None and agreement.max_delta > promise.max_delta:
        reasons.append(
            f"probabilities differ by {agreement.max_delta:.1e}, promised {promise.max_delta:.0e}"
        )
    return reasons


def _lost(promise: Promise, ours: Hits, theirs: Hits) -> list[str]:
    loss = promise.hit_at_5_loss
    if loss is None or ours.hit_at_5 >= theirs.hit_at_5 - loss:
        return []
    return [
        f"hit@5 is {ours.hit_at_5:.1%} against {theirs.hit_at_5:.1%},"
        f" promised at most {loss:.1%} less"
    ]


def _unfaithful(promise: Promise, far: Fidelity) -> list[str]:
    reasons = []
    if promise.divergence is not None and far.mean > promise.divergence:
        reasons.append(
            f"answers diverge from {REFERENCE} by {far.mean:.1e} nats on average,"
            f" promised {promise.divergence:.0e}"
        )
    if promise.worst_divergence is not None and far.worst > promise.worst_divergence:
        reasons.append(
            f"the answer to {far.worst_id} diverges from {REFERENCE} by {far.worst:.1e} nats,"
            f" promised {promise.worst_divergence:.0e}"
        )
    return reasons


def _dependent(batch: Batching | None) -> list[str]:
    if batch is None or batch.independent or batch.declared != INDEPENDENT:
        return []
    return [
        "answers depend on the batch, and the recipe does not say so:"
        f" {', '.join(batch.differing)} (by up to {batch.max_delta:.1e})"
    ]


def _too_few(promise: Promise, hit: float) -> list[str]:
    few = hit < promise.hit_at_5
    return [f"hit@5 is {hit:.1%}, promised at least {promise.hit_at_5:.1%}"] if few else []
