"""Keep single products in float32 where 8 bits cost more than a recipe's budget.

The budget is a mean divergence from the float graph on the calibration sentences, in nats at each
[MASK].  An ordinary network is within it with every product in 8 bits.  Otherwise the products
that do most damage stay in float32, as few as will do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines.text import Batch

Floats = NDArray[np.float32]
SUSPECTS = 12  # products whose own damage is measured, those with the largest errors
MEASURED = 64  # sentences, at most


@dataclass(frozen=True)
class Precision:
    """What was found: divergences in nats on the calibration sentences, and what was kept.

    ``kept`` has the products in float32, each with its share of all products' multiply-adds.
    ``plain`` is the divergence with all products in 8 bits, ``divergence`` that of what was made.
    ``multiplied`` counts multiplications added for channels out of line.
    """

    divergence: float
    plain: float
    budget: float | None = None
    kept: Mapping[str, float] = field(default_factory=dict)
    multiplied: int = 0

    @property
    def within(self) -> bool:
        """Whether the budget, if there is one, is kept."""
        return self.budget is None or self.divergence <= self.budget

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest says."""
        facts: dict[str, Any] = {"divergence": float(f"{self.divergence:.3g}")}
        if self.budget is not None:
            facts |= {"budget": self.budget, "within_budget": self.within}
        if self.kept:
            facts |= {
                "all_in_8_bits": float(f"{self.plain:.3g}"),
                "float32": {name: round(share, 4) for name, share in self.kept.items()},
            }
        if self.multiplied:
            facts["multiplications_added"] = self.multiplied
        return facts


def divergence(ours: Floats, theirs: Floats) -> float:
    """Return the mean divergence of logits (masks, vocabulary) from a reference's, in nats."""
    logarithms = [_log_softmax(np.asarray(logits, np.float64)) for logits in (theirs, ours)]
    parts = np.exp(logarithms[0]) * (logarithms[0] - logarithms[1])
    return max(float(parts.sum(axis=1).mean()), 0.0)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = logits - logits.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return result


def settle(
    noises: Mapping[str, float],
    shares: Mapping[str, float],
    budget: float | None,
    far: Callable[[Collection[str]], float],
    multiplied: int = 0,
) -> Precision:
    """Return which products stay in float32, so that the divergence is within the budget.

    Args:
        noises: each product's own error, by its name.
        shares: each product's share of all multiply-adds.
        budget: the largest divergence, None for any.
        far: measures the divergence with some products kept in float32.
        multiplied: for the record.

    """
    plain = far(())
    if budget is None or plain <= budget:
        return Precision(plain, plain, budget, {}, multiplied)
    order = sorted(noises, key=lambda name: -noises[name])
    suspects = order[:SUSPECTS]
    damage = {name: far(set(noises) - {name}) for name in suspects}
    order[:SUSPECTS] = sorted(suspects, key=lambda name: -damage[name])
    low, high = 0, len(order)  # the first ``high`` of the order are enough, ``low`` are not
    found: dict[int, float] = {}
    while high - low > 1:
        # Few are expected, so the first guesses are small.
        middle = min(2 * low + 1, (low + high) // 2) if high == len(order) else (low + high) // 2
        found[middle] = far(order[:middle])
        if found[middle] <= budget:
            high = middle
        else:
            low = middle
    kept = {name: shares[name] for name in order[:high]}
    return Precision(found[high] if high in found else far(kept), plain, budget, kept, multiplied)


def measured(batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches that divergence is measured on: the first sentence of each, evenly taken.

    It is the sentence as it was written; the others have more masks.
    """
    return [
        Batch(
            batch.input_ids[:1], batch.attention_mask[:1], batch.token_type_ids[:1],
            batch.rows[batch.rows == 0], batch.columns[batch.rows == 0],
        )
        for batch in batches[:: max(1, -(-len(batches) // MEASURED))]
    ]  # fmt: skip
