"""A variant's own unloaded answers to a gold set, kept to hold answers under load to them.

Each sentence is asked alone, one after the other: no neighbours in a batch, no other callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UnusableInputError
from .files import artifacts, read_json, write_json
from .gold import GoldSet
from .predictor import Predictor
from .text import TextError

DEPTH = 50  # enough of the ranking to look up the probability of another variant's top-5
RELATIVE_TIE = 1e-3

Ranking = Sequence[tuple[str, float]]
"""Tokens with probabilities, best first."""


@dataclass(frozen=True)
class Answers:
    """Rankings (``DEPTH`` long) by gold item id."""

    variant: str
    digest: str
    gold_digest: str
    rankings: Mapping[str, Ranking]


def ask(
    predictor: Predictor, gold: GoldSet, digest: str, tick: Callable[[], None] = lambda: None
) -> Answers:
    """Ask every gold item alone; raise UnusableInputError naming an item that cannot be asked."""
    rankings: dict[str, Ranking] = {}
    for item in gold.items:
        try:
            (answer,) = predictor.predict([item.text], top_k=DEPTH)
        except TextError as error:
            raise UnusableInputError(f"gold item {item.id} cannot be asked: {error}") from None
        rankings[item.id] = [(entry.token, entry.score) for entry in answer[0]]
        tick()
    return Answers(predictor.name, digest, gold.digest, rankings)


def _path(variant_digest: str, gold_digest: str) -> Path:
    return artifacts() / "answers" / f"{variant_digest[:20]}-{gold_digest[:20]}.json"


def save(answers: Answers) -> None:
    """Keep answers under ``artifacts/answers/`` by the digests of variant and gold set."""
    data = {"variant": answers.variant, "rankings": dict(answers.rankings)}
    write_json(_path(answers.digest, answers.gold_digest), data)


def exists(variant_digest: str, gold: GoldSet) -> bool:
    """Tell whether a variant's answers to a gold set are kept."""
    return _path(variant_digest, gold.digest).exists()


def load(variant: str, variant_digest: str, gold: GoldSet) -> Answers:
    """Return kept answers; raise UnusableInputError if this variant was never asked."""
    path = _path(variant_digest, gold.digest)
    if not path.exists():
        raise UnusableInputError(
            f"{variant} has not been asked the gold set {gold.name}:"
            f" run 'tiankong check --variants {variant}' first"
        )
    rankings = read_json(path)["rankings"]
    return Answers(
        variant,
        variant_digest,
        gold.digest,
        {item: [(token, score) for token, score in ranking] for item, ranking in rankings.items()},
    )


def same_answer(expected: Ranking, given: Ranking) -> bool:
    """Tell whether ``given`` is the top of ``expected``: the same tokens in the same order.

    Two tokens may change places only where their expected probabilities differ by less than a
    thousandth of themselves: no engine promises the last bit.

    >>> same_answer([("a", 0.9), ("b", 0.05)], [("a", 0.9), ("b", 0.05)])
    True
    >>> same_answer([("a", 0.9), ("b", 0.05)], [("b", 0.9), ("a", 0.05)])
    False
    """
    probability = dict(expected)
    if not given or len(given) > len(expected) or len(dict(given)) != len(given):
        return False
    for (right, score), (token, _) in zip(expected, given, strict=False):
        if token == right:
            continue
        if abs(probability.get(token, -1.0) - score) > RELATIVE_TIE * score:
            return False
    return True
