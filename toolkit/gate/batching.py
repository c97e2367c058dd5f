"""Whether an answer depends on its batchmates or on padding: every question again, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from random import Random

from ..building.recipes import Promise
from ..engines.outputs import DEPTH, ROUNDING, TOP
from ..engines.predictor import Predictor, Ranking
from ..engines.text import ceiling
from .fidelity import delta

SEED = 20261123
SIZES = (8, 2, 16, 3)  # sentences in a batch, in turns: usual sizes on a server, and remainders
LONG = 160  # characters; a longer text shares its batch with one other: padding is expensive
SHOWN = 5


@dataclass(frozen=True)
class Batching:
    """The result of asking in batches.

    ``independent``: every answer was the same as when asked alone; ``declared``: what the recipe
    says; ``differing``: the first ids whose answers were different; ``max_delta``: the largest
    difference of a probability of a top-5; ``sizes``: sentences in a batch.
    ``same_length_delta`` is the same difference in batches of sentences of one (padded) length;
    None: not measured, because answers are the same in any batch.
    """

    independent: bool
    declared: str
    sentences: int
    sizes: Sequence[int]
    differing: Sequence[str]
    max_delta: float
    same_length_delta: float | None = None


def mixed(texts: Mapping[str, str], seed: int = SEED) -> Iterator[list[str]]:
    """Yield the ids of texts batch by batch: shuffled, batch sizes in turns, every id once.

    A long text shares a batch with one short text, so that the short one gets a lot of padding.
    """
    order = list(texts)
    Random(seed).shuffle(order)
    short = [name for name in order if len(texts[name]) <= LONG]
    for name in order:
        if len(texts[name]) > LONG:
            yield [name, short.pop()] if short else [name]
    for size in cycle(SIZES):
        if not short:
            return
        yield short[:size]
        short = short[size:]


def ask_in_batches(
    predictor: Predictor,
    texts: Mapping[str, str],
    alone: Mapping[str, Sequence[Ranking]],
    declared: str,
    promise: Promise,
    tick: Callable[[], None] = lambda: None,
) -> Batching:
    """Ask all texts in mixed batches and compare the answers with those given alone.

    Args:
        predictor: the variant.
        texts: sentences by id.
        alone: the rankings for every [MASK] of each sentence, asked by itself.
        declared: what the recipe says about batches.
        promise: its ``batch_delta`` and ``batch_tie`` are the limits here.
        tick: called after each batch.

    """
    differing: list[str] = []
    largest = 0.0
    for names in mixed(texts):
        given = predictor.predict([texts[name] for name in names], top_k=DEPTH)
        for name, rankings in zip(names, given, strict=True):
            deltas = [delta(r, a) for r, a in zip(rankings, alone[name], strict=False)]
            largest = max(largest, *deltas)
            close = len(rankings) == len(alone[name]) and max(deltas) <= promise.batch_delta
            if not close or not all(
                _same_five(ranking, own, promise.batch_tie)
                for ranking, own in zip(rankings, alone[name], strict=True)
            ):
                differing.append(name)
        tick()
    same_length = _same_length(predictor, texts, alone) if largest > ROUNDING else None
    return Batching(
        not differing, declared, len(texts), list(SIZES), differing[:SHOWN], largest, same_length
    )  # fmt: skip


def _same_length(
    predictor: Predictor, texts: Mapping[str, str], alone: Mapping[str, Sequence[Ranking]]
) -> float:
    """Return the largest difference of a probability in batches of one padded length."""
    encoded = {name: predictor.encoder.encode(text) for name, text in texts.items()}
    lengths: dict[int, list[str]] = {}
    for name, ids in encoded.items():
        lengths.setdefault(ceiling(len(ids), predictor.pad_to), []).append(name)
    largest = 0.0
    for names in lengths.values():
        for begin in range(0, len(names), max(SIZES)):
            chosen = names[begin : begin + max(SIZES)]
            given = predictor.answer([encoded[name] for name in chosen], top_k=DEPTH)
            for name, rankings in zip(chosen, given, strict=True):
                largest = max(largest, *map(delta, rankings, alone[name]))
    return largest


def _same_five(batched: Ranking, alone: Ranking, tie: float) -> bool:
    """Tell whether both top-5 are one set; tokens nearly as probable as the fifth are allowed."""
    probability = dict(alone)
    fifth = alone[:TOP][-1].score
    newcomers = {token for token, _ in batched[:TOP]} - {token for token, _ in alone[:TOP]}
    return all(fifth - probability.get(token, 0.0) <= tie * fifth for token in newcomers)
