"""How far a variant's probabilities are from the reference's: one number for each question.

The measure is the Kullback-Leibler divergence of the variant's distribution from the reference's,
in nats, as is usual for quantized language models.  It grows long before the best token changes,
and small rounding errors spread over all questions change it little.  Only the ``DEPTH`` best
tokens of both are known.  So it is summed over the reference's best tokens and one bin for all
others; a token that is not among the variant's best gets the variant's last known probability, an
upper bound.  The result is therefore a lower bound of the true divergence (Cover and Thomas,
"Elements of Information Theory", 2006, chapter 2: merging outcomes cannot increase it).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..engines.outputs import TOP
from ..engines.predictor import Ranking

SMALLEST = 1e-9  # a probability below this counts as this, so that its logarithm exists
MOST_IN_ALL = 1.001  # the largest sum of probabilities allowed, rounding included


@dataclass(frozen=True)
class Fidelity:
    """Divergences in nats over all questions: the mean, the largest, and that question's id."""

    mean: float
    worst: float
    worst_id: str


def divergence(ours: Ranking, theirs: Ranking) -> float:
    """Return the divergence of ``ours`` (a variant) from ``theirs`` (the reference) in nats.

    >>> divergence([("a", 0.5), ("b", 0.25)], [("a", 0.5), ("b", 0.25)])
    0.0
    >>> round(divergence([("b", 0.5), ("a", 0.25)], [("a", 0.5), ("b", 0.25)]), 3)
    0.173
    """
    known, last = dict(ours), ours[-1][1]
    pairs = [(score, known.get(token, last)) for token, score in theirs]
    pairs.append((1 - sum(p for p, _ in pairs), 1 - sum(q for _, q in pairs)))
    total = sum(p * math.log(p / max(q, SMALLEST)) for p, q in pairs if p > SMALLEST)
    return max(total, 0.0)


def delta(ours: Ranking, theirs: Ranking) -> float:
    """Return the largest difference in probability over the top-5 of ``theirs``."""
    known = dict(ours)
    return max(abs(known.get(token, 0.0) - score) for token, score in theirs[:TOP])


def fidelity(ours: Mapping[str, Ranking], theirs: Mapping[str, Ranking]) -> Fidelity:
    """Compare the answers to all of the reference's questions; each must be in ``ours``."""
    divergences = {name: divergence(ours[name], ranking) for name, ranking in theirs.items()}
    worst = max(divergences, key=divergences.__getitem__)
    mean = math.fsum(divergences.values()) / len(divergences)
    return Fidelity(mean, divergences[worst], worst)


def no_distribution(rankings: Mapping[str, Ranking]) -> str:
    """Return an error message if some scores cannot be probabilities, else an empty string."""
    for name, ranking in rankings.items():
        total = math.fsum(score for _, score in ranking)
        if total > MOST_IN_ALL or any(score < 0 for _, score in ranking):
            return f"scores of {name} are no probabilities: they add up to {total:.3g}"
    return ""
