"""What the gate found about a variant, as a run recorded it; older runs record less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.stats import highest_share

Five = tuple[tuple[str, float], ...]
"""The best tokens for a [MASK] with their probabilities, best first."""


@dataclass(frozen=True)
class Category:
    """Shares of a category's gold items; ``agreement`` (None: unknown) with the reference."""

    name: str
    items: int
    hit_at_1: float
    hit_at_5: float
    agreement: float | None


@dataclass(frozen=True)
class FlippedItem:
    """A gold item whose best token is not the reference's; older runs lack both lists."""

    id: str
    text: str
    answer: str
    reference: str
    variant: str
    reference_five: Five = ()
    variant_five: Five = ()

    @property
    def right(self) -> str:
        """Whose best token is the gold answer: "reference", "variant" or "neither"."""
        if self.answer == self.reference:
            return "reference"
        return "variant" if self.answer == self.variant else "neither"


@dataclass(frozen=True)
class Divergent:
    """The question whose answer diverges most, and which [MASK] of it (from 1)."""

    id: str
    text: str
    mask: int
    reference_five: Five
    variant_five: Five


@dataclass(frozen=True)
class Gate:
    """The gate's result for a variant; shares are in 0..1.

    What is compared with the reference is None if there is none, and what older runs do not record
    is None too.  ``judged`` is false if there was neither a reference nor a promise to check its
    answers against.  ``independent`` tells whether answers are the same in any batch.  ``guessed``
    is the hit@5 of guessing, ``at_chance`` whether the model does no better.
    ``items`` is the number of gold items.
    """

    passed: bool
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float | None
    reasons: tuple[str, ...]
    judged: bool = True
    top5_agreement: float | None = None
    order_agreement: float | None = None
    flipped: tuple[FlippedItem, ...] | None = None
    max_delta: float | None = None
    divergence: float | None = None
    worst_divergence: float | None = None
    worst: str = ""
    furthest: Divergent | None = None
    independent: bool | None = None
    guessed: float | None = None
    at_chance: bool = False
    categories: tuple[Category, ...] = ()
    items: int | None = None

    @property
    def recommended(self) -> bool:
        """Whether a variant of this result may be recommended."""
        return self.passed and self.judged and not self.at_chance

    @property
    def highest_flip_rate(self) -> float | None:
        """The exact upper 95 % bound of the share of other best tokens; None: not known."""
        if self.flipped is None or not self.items:
            return None
        return highest_share(len(self.flipped), self.items)

    def flips(self, right: str) -> int:
        """Return on how many flipped items it is "reference", "variant" or "neither" right."""
        return sum(item.right == right for item in self.flipped or ())


def gate_of(data: Mapping[str, Any] | None, items: int | None) -> Gate | None:
    """Return a gate result from a run's header; None: the gate never ran.

    ``items`` is the size of the run's gold set, for results that do not tell it.
    """
    if data is None:
        return None
    guessing, batch = data.get("guessing") or {}, data.get("batch") or {}
    compared = data["top1_agreement"] is not None
    categories = tuple(_category(name, hits) for name, hits in data.get("categories", {}).items())
    return Gate(
        bool(data["passed"]),
        data["hit_at_1"],
        data["hit_at_5"],
        data["top1_agreement"],
        tuple(str(reason) for reason in data.get("reasons", ())),
        bool(data.get("judged", True)),
        data.get("top5_agreement"),
        data.get("order_agreement"),
        tuple(map(_flipped, data["flipped"])) if compared and "flipped" in data else None,
        data.get("max_delta") if compared else None,
        data.get("divergence"),
        data.get("worst_divergence"),
        data.get("worst", ""),
        _furthest(data.get("furthest")),
        batch.get("independent"),
        guessing.get("hit_at_5"),
        bool(guessing.get("at_chance")),
        categories,
        sum(category.items for category in categories) or items,
    )


def _category(name: str, hits: Mapping[str, Any]) -> Category:
    return Category(
        name, hits["items"], hits["hit_at_1"], hits["hit_at_5"], hits.get("top1_agreement")
    )


def _flipped(item: Mapping[str, Any]) -> FlippedItem:
    return FlippedItem(
        item["id"],
        item.get("text", ""),
        item["answer"],
        item["reference"],
        item["variant"],
        _five(item.get("reference_top5")),
        _five(item.get("variant_top5")),
    )


def _furthest(found: Mapping[str, Any] | None) -> Divergent | None:
    if not found:
        return None
    return Divergent(
        found["id"],
        found["text"],
        found["mask"],
        _five(found["reference_top5"]),
        _five(found["variant_top5"]),
    )


def _five(ranking: Sequence[Sequence[Any]] | None) -> Five:
    return tuple((str(token), float(probability)) for token, probability in ranking or ())
