"""Whether a model knows any answers at all, or hits no more of them than guessing would.

A reference with a random head agrees with itself on everything, so nothing but the gold answers can
show that it knows nothing.  Guesses that do not depend on the sentence hit some of them all the
same.  A model's hits, at rank 1 and among the first 5, are held against three such guesses:

- tokens at random: each item is hit with the probability ``rank / vocabulary``;
- the model's own habits: an item is hit with the share of all *other* sentences (gold and probe
  sentences) to which its gold answer is given.  A model that always gives the same tokens hits
  exactly this much;
- the tokens that are most often right in this gold set, always.  One occurrence of each is not
  counted, because the set itself chose them: in a set of different answers this guess hits nothing.

The number of hits of independent guesses has the Poisson-binomial distribution (Wang, "On the
number of successes in independent trials", Statistica Sinica 3, 1993).  A model is said to be at
chance only if both hold at both ranks:

- so many hits or more come from guessing with a probability of at least ``SIGNIFICANCE``;
- a model that knows a third of the answers (``KNOWN``), or that always gives the most frequent
  ones, would have more hits with a probability of at least 99 % (``POWER``).

The second condition keeps a small gold set from accusing a model: below 12 items even no hit at all
is no proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..engines.outputs import TOP
from .answers import Answers
from .gold import GoldSet

SIGNIFICANCE = 0.001
KNOWN = 1 / 3
POWER = 0.01
RANKS = (1, TOP)

Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Guessing:
    """What guessing would hit of a gold set (shares in 0..1), and whether a model hits no more."""

    hit_at_1: float
    hit_at_5: float
    at_chance: bool


def guessing(answers: Answers, gold: GoldSet) -> Guessing:
    """Hold a model's hits against those of guessing."""
    first, among = (_AtRank(answers, gold, rank) for rank in RANKS)
    at_chance = first.no_better and among.no_better
    return Guessing(first.guessed, among.guessed, at_chance)


class _AtRank:
    """Hits among the first ``rank`` tokens: a model's, and those of guesses."""

    def __init__(self, answers: Answers, gold: GoldSet, rank: int) -> None:
        tops = {
            item.id: {entry.token for entry in answers.rankings[item.id][:rank]}
            for item in gold.items
        }
        probed = [
            {entry.token for entry in ranking[:rank]}
            for masks in answers.probes.values()
            for ranking in masks
        ]
        habits = Counter(token for top in (*tops.values(), *probed) for token in top)
        others = max(len(tops) + len(probed) - 1, 1)
        self.hits = sum(item.answer in tops[item.id] for item in gold.items)
        own = [
            (habits[item.answer] - (item.answer in tops[item.id])) / others for item in gold.items
        ]
        at_random = rank / answers.vocabulary if answers.vocabulary else 0.0
        self.own: Shares = np.maximum(own, min(at_random, 1.0))
        self.constant: Shares = np.full(len(gold.items), _most_frequent(gold, rank))

    @property
    def guessed(self) -> float:
        """The share of items that the better guess hits."""
        return float(max(self.own.mean(), self.constant[0]))

    @property
    def no_better(self) -> bool:
        """Whether guessing explains the hits, and knowing a part of the answers does not."""
        luck = max(_at_least(self.hits, self.own), _at_least(self.hits, self.constant))
        knowing = np.maximum(KNOWN + (1 - KNOWN) * self.own, self.constant)
        return luck >= SIGNIFICANCE and 1 - _at_least(self.hits + 1, knowing) <= POWER


def _most_frequent(gold: GoldSet, rank: int) -> float:
    counts = Counter(item.answer for item in gold.items).most_common(rank)
    return sum(count - 1 for _, count in counts) / len(gold.items)


def _at_least(hits: int, shares: Sequence[float] | Shares) -> float:
    """Return the probability of so many hits or more; each item is hit with its own share.

    >>> _at_least(2, [0.5, 0.5]), _at_least(1, [0.5, 0.5])
    (0.25, 0.75)
    """
    distribution = np.zeros(len(shares) + 1)
    distribution[0] = 1.0
    for share in shares:
        distribution[1:] = distribution[1:] * (1 - share) + distribution[:-1] * share
        distribution[0] *= 1 - share
    return float(min(distribution[hits:].sum(), 1.0))
