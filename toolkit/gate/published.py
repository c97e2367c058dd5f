"""Published predictions: what others have shown a checkpoint to answer, and whether ours does.

``gold/published_predictions.jsonl`` holds facts with their sources: a sentence, tokens with ids and
scores in order, for one [MASK] (``per_mask`` false) or the best token of each (true).  Facts are
held to a model that bears the checkpoint's name, and to any whose vocabulary has the very tokens at
the very ids and whose geometry is the checkpoint's: what a model is, is decided by asking it.
``gold/predictions.jsonl`` holds, in the same form, what the built-in model answers: the
reference that all else is compared with must not be damaged either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..engines.kinds import DEPTH
from ..engines.predictor import Predictor, Ranked, Ranking
from ..engines.text import TextError
from ..errors import UnusableInputError
from .gold import FOLDER

PUBLISHED = (
    FOLDER / "published_predictions.jsonl",
    FOLDER / "predictions.jsonl",
)
CLOSE = 1e-3  # how far a score may be off; a score with fewer digits, half of its last one
GEOMETRY: Mapping[str, Mapping[str, int]] = {
    "google-bert/bert-base-chinese": {"layers": 12, "hidden": 768, "vocabulary": 21128},
}
BUILTIN = "builtin"  # facts of this name are those of every size of the built-in model


@dataclass(frozen=True)
class Told:
    """A published token: ``score`` is None where none was given, ``digits`` those after the dot."""

    token: str
    token_id: int
    score: float | None
    digits: int


@dataclass(frozen=True)
class Fact:
    """What somebody has published about one sentence."""

    model: str
    text: str
    top: Sequence[Told]
    per_mask: bool
    source: str


@dataclass(frozen=True)
class Difference:
    """One published token that a model does not give so; ``seen`` is what it gives instead."""

    text: str
    mask: int
    token: str
    token_id: int
    score: float | None
    seen: str
    seen_id: int
    seen_score: float

    def __str__(self) -> str:
        score = "" if self.score is None else f" {self.score:.4f}"
        return (
            f"{self.text} [MASK] {self.mask}: published {self.token} (id {self.token_id}){score},"
            f" here {self.seen} (id {self.seen_id}) {self.seen_score:.4f}"
        )


@dataclass(frozen=True)
class Publication:
    """What came of holding a model to a checkpoint's facts.

    ``named``: the model bears the checkpoint's name, so that a difference is damage.
    """

    checkpoint: str
    facts: int
    named: bool
    differences: Sequence[Difference]

    @property
    def same(self) -> bool:
        """Whether the model answers everything as published."""
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self) | {"same": self.same}


def read_facts(paths: Sequence[Path] = PUBLISHED) -> list[Fact]:
    """Read facts; raise UnusableInputError naming file and line of one that is broken."""
    facts = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                data = json.loads(line, parse_float=Decimal)
                top = [_told(entry) for entry in data["top"]]
                facts.append(
                    Fact(data["model"], data["text"], top, data["per_mask"], data["source"])
                )
            except (ValueError, KeyError, TypeError) as error:
                raise UnusableInputError(f"{path}, line {number}: {error!r}") from None
    return facts


def _told(entry: Mapping[str, Any]) -> Told:
    score = entry["score"]
    exponent = Decimal(score).as_tuple().exponent if score is not None else 0
    digits = -exponent if isinstance(exponent, int) else 0
    return Told(entry["token"], entry["token_id"], None if score is None else float(score), digits)


def hold(
    predictor: Predictor, model: Mapping[str, Any], facts: Sequence[Fact]
) -> Publication | None:
    """Hold a model to the first checkpoint whose facts fit it; None if none fits.

    Args:
        predictor: the reference variant of the model.
        model: what the manifest says of it (``name``, ``source``, geometry).
        facts: published facts, of any number of checkpoints.

    """
    for checkpoint in dict.fromkeys(fact.model for fact in facts):
        known = [fact for fact in facts if fact.model == checkpoint]
        named = checkpoint in (model.get("source"), model.get("name"))
        if not named and not _fits(predictor, model, checkpoint, known):
            continue
        found = [d for fact in known for d in _differences(predictor, fact)]
        return Publication(checkpoint, len(known), named, found)
    return None


def _fits(
    predictor: Predictor, model: Mapping[str, Any], checkpoint: str, facts: Sequence[Fact]
) -> bool:
    if checkpoint == BUILTIN:
        return False  # what is made of the built-in model (fine-tuned, say) is another model
    geometry = GEOMETRY.get(checkpoint, {})
    vocabulary = predictor.encoder.vocabulary
    return all(model.get(key) == value for key, value in geometry.items()) and all(
        vocabulary.get(told.token) == told.token_id for fact in facts for told in fact.top
    )


def _differences(predictor: Predictor, fact: Fact) -> list[Difference]:
    try:
        (masks,) = predictor.predict([fact.text], DEPTH)
    except TextError:
        return []  # a model with fewer positions cannot be asked
    told = [[each] for each in fact.top] if fact.per_mask else [list(fact.top)]
    ids = predictor.encoder.vocabulary
    return [
        Difference(
            fact.text, number, each.token, each.token_id, each.score,
            best.token, ids.get(best.token, -1), best.score,
        )
        for number, (expected, given) in enumerate(zip(told, masks, strict=False), start=1)
        for each, best in _mismatches(expected, given, ids)
    ]  # fmt: skip


def _mismatches(
    expected: Sequence[Told], given: Ranking, ids: Mapping[str, int]
) -> list[tuple[Told, Ranked]]:
    """Pair each published token that has not its id, rank and score with what is there."""
    by_token = {entry.token: entry for entry in given}
    pairs = [
        (told, there, by_token.get(told.token))
        for told, there in zip(expected, given, strict=False)
    ]
    return [
        (told, mine if mine is not None and told.score is not None else there)
        for told, there, mine in pairs
        if mine is None or ids.get(told.token) != told.token_id or not _as_told(told, there, mine)
    ]


def _as_told(told: Told, there: Ranked, mine: Ranked) -> bool:
    """Tell whether a token stands where it was published, or is as good as the one that does."""
    if told.score is None:
        return mine == there
    limit = max(CLOSE, 0.5 * 10.0**-told.digits)
    return abs(there.score - mine.score) <= limit and abs(mine.score - told.score) <= limit
