"""The gate: whether a variant's answers still hold, against gold answers and the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..building.recipes import INDEPENDENT, REFERENCE, Promise
from .answers import Answers, Ranking
from .batching import Batching
from .fidelity import Fidelity, fidelity, no_distribution
from .gold import GoldItem, GoldSet


@dataclass(frozen=True)
class Hits:
    """Share of items whose gold answer came first, or among the first five."""

    items: int
    hit_at_1: float
    hit_at_5: float


@dataclass(frozen=True)
class Flip:
    """An item whose best token is not the reference's."""

    id: str
    text: str
    answer: str
    reference: str
    variant: str


@dataclass(frozen=True)
class Check:
    """The gate's result for one variant; agreements are shares of gold items in 0..1.

    ``max_delta`` and the divergences (nats, see fidelity.py) are over gold and probe sentences;
    ``worst`` is the id of the sentence with the largest divergence.  All these are None where there
    is no reference to compare with.  ``batch`` says whether answers depend on the batch (None: not
    asked).  ``judged`` is false where nothing was promised either: such a variant passes, and is
    not recommended.
    """

    variant: str
    passed: bool
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float | None
    top5_agreement: float | None
    order_agreement: float | None
    max_delta: float | None
    categories: Mapping[str, Hits]
    reasons: Sequence[str]
    flipped: Sequence[Flip]
    divergence: float | None = 0.0
    worst_divergence: float | None = 0.0
    worst: str = ""
    batch: Batching | None = None
    judged: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self)


def check(
    answers: Answers,
    reference: Answers,
    gold: GoldSet,
    promise: Promise,
    batch: Batching | None = None,
) -> Check:
    """Compare one variant's answers with the gold answers and with the reference's."""
    count = len(gold.items)
    pairs = [(answers.rankings[i.id], reference.rankings[i.id]) for i in gold.items]
    flipped = [
        Flip(item.id, item.text, item.answer, theirs[0][0], ours[0][0])
        for item, (ours, theirs) in zip(gold.items, pairs, strict=True)
        if ours[0][0] != theirs[0][0]
    ]
    hits = overall(answers, gold)
    same_set = sum(set(_top(ours)) == set(_top(theirs)) for ours, theirs in pairs) / count
    same_order = sum(_top(ours) == _top(theirs) for ours, theirs in pairs) / count
    everything, standard = answers.everything(), reference.everything()
    delta = max(_delta(everything[name], theirs) for name, theirs in standard.items())
    far = fidelity(everything, standard)
    top1 = 1 - len(flipped) / count
    top5 = same_order if promise.ordered else same_set
    reference_hit = overall(reference, gold).hit_at_5
    reasons = [
        *_broken(promise, top1, top5, delta, hits.hit_at_5, reference_hit),
        *_unfaithful(promise, far),
        *_dependent(batch),
    ]
    if wrong := no_distribution(everything):
        reasons.append(wrong)
    return Check(
        variant=answers.variant,
        passed=not reasons,
        hit_at_1=hits.hit_at_1,
        hit_at_5=hits.hit_at_5,
        top1_agreement=top1,
        top5_agreement=same_set,
        order_agreement=same_order,
        max_delta=delta,
        categories=by_category(answers, gold),
        reasons=reasons,
        flipped=flipped,
        divergence=far.mean,
        worst_divergence=far.worst,
        worst=far.worst_id,
        batch=batch,
    )


def check_alone(
    answers: Answers, gold: GoldSet, promise: Promise, batch: Batching | None = None
) -> Check:
    """Compare a variant's answers with the gold answers only: it has no reference."""
    hits = overall(answers, gold)
    reasons = [*_too_few(promise, hits.hit_at_5), *_dependent(batch)]
    if wrong := no_distribution(answers.everything()):
        reasons.append(wrong)
    return Check(
        variant=answers.variant,
        passed=not reasons,
        hit_at_1=hits.hit_at_1,
        hit_at_5=hits.hit_at_5,
        top1_agreement=None,
        top5_agreement=None,
        order_agreement=None,
        max_delta=None,
        categories=by_category(answers, gold),
        reasons=reasons,
        flipped=[],
        divergence=None,
        worst_divergence=None,
        batch=batch,
        judged=promise.hit_at_5 > 0,
    )


def broken(variant: str, reason: str) -> Check:
    """Return the result of a variant that could not be asked at all."""
    return Check(variant, False, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, {}, [reason], [])


def overall(answers: Answers, gold: GoldSet) -> Hits:
    """Return hit@1 and hit@5 over the whole gold set."""
    return _hits(answers, gold.items)


def by_category(answers: Answers, gold: GoldSet) -> dict[str, Hits]:
    """Return hit@1 and hit@5 of each category, in the order they first occur."""
    categories = dict.fromkeys(item.category for item in gold.items)
    return {
        name: _hits(answers, [item for item in gold.items if item.category == name])
        for name in categories
    }


def _hits(answers: Answers, items: Sequence[GoldItem]) -> Hits:
    tops = [(_top(answers.rankings[item.id]), item.answer) for item in items]
    first = sum(top[0] == answer for top, answer in tops)
    among = sum(answer in top for top, answer in tops)
    return Hits(len(tops), first / len(tops), among / len(tops))


def _top(ranking: Ranking) -> list[str]:
    return [token for token, _ in ranking[:5]]


def _delta(ours: Ranking, theirs: Ranking) -> float:
    """Return the largest difference in probability over the reference's top-5."""
    ours_by_token = dict(ours)
    return max(abs(ours_by_token.get(token, 0.0) - score) for token, score in theirs[:5])


def _broken(
    promise: Promise, top1: float, top5: float, delta: float, hit: float, reference_hit: float
) -> list[str]:
    """Return a line for every promise that does not hold."""
    reasons = _too_few(promise, hit)
    if top1 < promise.top1_agreement:
        reasons.append(
            f"same top-1 as {REFERENCE} on {top1:.1%}, promised {promise.top1_agreement:.1%}"
        )
    if top5 < promise.top5_agreement:
        order = "in the same order " if promise.ordered else ""
        reasons.append(f"same top-5 {order}on {top5:.1%}, promised {promise.top5_agreement:.1%}")
    if promise.max_delta is not None and delta > promise.max_delta:
        reasons.append(f"probabilities differ by {delta:.1e}, promised {promise.max_delta:.0e}")
    if promise.hit_at_5_loss is not None and hit < reference_hit - promise.hit_at_5_loss:
        reasons.append(
            f"hit@5 is {hit:.1%} against {reference_hit:.1%},"
            f" promised at most {promise.hit_at_5_loss:.1%} less"
        )
    return reasons


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
