"""A variant's own answers to a gold set, given without load and stored.

Answers under load are compared with them later.  Each sentence is asked alone, one after the
other: no neighbours in a batch, no other callers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..engines.outputs import DEPTH, TOP
from ..engines.predictor import Answer, Predictor, Ranked, Ranking
from ..engines.text import TextError
from ..errors import UnusableInputError
from ..files import artifacts, read_json, write_json
from .gold import GoldSet

RELATIVE_TIE = 1e-3


@dataclass(frozen=True)
class Answers:
    """One variant's rankings: one for each gold item, one for each [MASK] of each probe sentence.

    Both are keyed by id.  A ranking has ``DEPTH`` tokens: enough to look up the probability of
    another variant's top-5.  ``vocabulary`` is the number of tokens it chose from (0: not known).
    """

    variant: str
    digest: str
    gold_digest: str
    rankings: Mapping[str, Ranking]
    probes: Mapping[str, Sequence[Ranking]] = field(default_factory=dict)
    vocabulary: int = 0

    def everything(self) -> dict[str, Ranking]:
        """Return all rankings by id; a probe's masks are numbered: ``probe-16.2``."""
        return dict(self.rankings) | {
            f"{name}.{number}": ranking
            for name, masks in self.probes.items()
            for number, ranking in enumerate(masks, start=1)
        }


def ask(
    predictor: Predictor,
    gold: GoldSet,
    digest: str,
    tick: Callable[[], None] = lambda: None,
    probes: Mapping[str, str] | None = None,
) -> Answers:
    """Ask every gold item and every probe sentence, each in a call of its own.

    ``tick`` is called after each.  Raises UnusableInputError naming an item that cannot be asked.
    """
    texts = {item.id: item.text for item in gold.items}
    rankings = {
        name: _alone(predictor, f"gold item {name}", text, tick)[0] for name, text in texts.items()
    }
    probed = {
        name: _alone(predictor, name, text, tick) for name, text in (probes or {}).items()
    }  # fmt: skip
    size = len(predictor.encoder.vocabulary)
    return Answers(predictor.name, digest, gold.digest, rankings, probed, size)


def _alone(predictor: Predictor, what: str, text: str, tick: Callable[[], None]) -> Answer:
    try:
        (answer,) = predictor.predict([text], top_k=DEPTH)
    except TextError as error:
        raise UnusableInputError(f"{what} cannot be asked: {error}") from None
    tick()
    return answer


def _path(variant_digest: str, gold_digest: str) -> Path:
    return artifacts() / "answers" / f"{variant_digest[:20]}-{gold_digest[:20]}.json"


def save(answers: Answers) -> None:
    """Store answers under ``artifacts/answers/``, named by the digests of variant and gold set."""
    data = {"variant": answers.variant, "rankings": dict(answers.rankings)}
    write_json(_path(answers.digest, answers.gold_digest), data)


def exists(variant_digest: str, gold: GoldSet) -> bool:
    """Tell whether a variant's answers to a gold set are stored."""
    return _path(variant_digest, gold.digest).exists()


def load(variant: str, variant_digest: str, gold: GoldSet) -> Answers:
    """Return stored answers; raise UnusableInputError if this variant was never asked."""
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
        {item: [Ranked(*entry) for entry in ranking] for item, ranking in rankings.items()},
    )


def same_answer(expected: Ranking, given: Ranking) -> bool:
    """Tell whether ``given`` is the beginning of ``expected``: the same tokens in the same order.

    Two tokens may change places only where their expected probabilities are nearly equal (within
    ``RELATIVE_TIE``): no engine promises the last bit.

    >>> a, b = Ranked("a", 0.9), Ranked("b", 0.05)
    >>> same_answer([a, b], [a, b]), same_answer([a, b], [b, a])
    (True, False)
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


def clearest(answers: Answers, gold: GoldSet) -> dict[str, Any]:
    """Return the gold item that a variant is surest about, with its top-5, for a later self-test.

    It is the item with the widest gap between the probabilities of the first two tokens: small
    numeric differences of other kernels, on another machine, do not change its answer.
    """
    item = max(gold.items, key=lambda item: _gap(answers.rankings[item.id]))
    top = answers.rankings[item.id][:TOP]
    return {"text": item.text, "results": [entry._asdict() for entry in top]}


def _gap(ranking: Ranking) -> float:
    first, second = ranking[0], ranking[1]
    return first.score - second.score
