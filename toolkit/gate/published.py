"""Published predictions of a checkpoint, and whether our model gives the same.

``gold/published_predictions.jsonl`` holds facts with their sources: a sentence, and tokens with ids
and scores.  The tokens are the ranking for one [MASK] (``per_mask`` false) or the best token for
each [MASK] (true).  A model is compared with the facts if it has the checkpoint's name, or if it
looks like the checkpoint: the same geometry, and the same ids for the facts' tokens.
``gold/predictions.jsonl`` holds, in the same form, what the built-in model answers, so that a
damaged reference is noticed too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..engines.outputs import DEPTH
from ..engines.predictor import Predictor, Ranked, Ranking
from ..engines.text import TextError
from ..errors import UnusableInputError
from ..files import read_text
from .gold import FOLDER

PUBLISHED = (
    FOLDER / "published_predictions.jsonl",
    FOLDER / "predictions.jsonl",
)
CLOSE = 1e-3  # allowed error of a score; for one with few digits, half a unit of its last digit
GEOMETRY: Mapping[str, Mapping[str, int]] = {
    "google-bert/bert-base-chinese": {"layers": 12, "hidden": 768, "vocabulary": 21128},
}
BUILTIN = "builtin"  # facts of this name are for every size of the built-in model


@dataclass(frozen=True)
class PublishedToken:
    """A published token; ``score`` is None if none was published, ``digits`` are its decimals."""

    token: str
    token_id: int
    score: float | None
    digits: int


@dataclass(frozen=True)
class Fact:
    """What somebody has published about one sentence."""

    model: str
    text: str
    top: Sequence[PublishedToken]
    per_mask: bool
    source: str


@dataclass(frozen=True)
class Difference:
    """One published token that a model does not give; ``seen`` is what it gives instead."""

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
    """The result of comparing a model with a checkpoint's facts.

    ``named``: the model has the checkpoint's name, so a difference means that it is damaged.
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
    """Read facts; raise UnusableInputError naming file and line of a broken one."""
    facts = []
    for path in paths:
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            try:
                data = json.loads(line, parse_float=Decimal)
                top = [_token(entry) for entry in data["top"]]
                facts.append(
                    Fact(data["model"], data["text"], top, data["per_mask"], data["source"])
                )
            except (ValueError, KeyError, TypeError) as error:
                raise UnusableInputError(f"{path}, line {number}: {error!r}") from None
    return facts


def _token(entry: Mapping[str, Any]) -> PublishedToken:
    score = entry["score"]
    exponent = Decimal(score).as_tuple().exponent if score is not None else 0
    digits = -exponent if isinstance(exponent, int) else 0
    value = None if score is None else float(score)
    return PublishedToken(entry["token"], entry["token_id"], value, digits)


def hold(
    predictor: Predictor, model: Mapping[str, Any], facts: Sequence[Fact]
) -> Publication | None:
    """Compare a model with the facts of the first checkpoint that fits it; None if none fits.

    Args:
        predictor: the reference variant of the model.
        model: what the manifest says about it (``name``, ``source``, geometry).
        facts: published facts, of any number of checkpoints.

    """
    for checkpoint in dict.fromkeys(fact.model for fact in facts):
        known = [fact for fact in facts if fact.model == checkpoint]
        named = checkpoint in (model.get("source"), model.get("name"))
        if not named and not _fits(predictor, model, checkpoint, known):
            continue
        differences = [d for fact in known for d in _differences(predictor, fact)]
        return Publication(checkpoint, len(known), named, differences)
    return None


def _fits(
    predictor: Predictor, model: Mapping[str, Any], checkpoint: str, facts: Sequence[Fact]
) -> bool:
    if checkpoint == BUILTIN:
        return False  # a model derived from the built-in one (fine-tuned, say) may answer otherwise
    geometry = GEOMETRY.get(checkpoint, {})
    vocabulary = predictor.encoder.vocabulary
    return all(model.get(key) == value for key, value in geometry.items()) and all(
        vocabulary.get(entry.token) == entry.token_id for fact in facts for entry in fact.top
    )


def _differences(predictor: Predictor, fact: Fact) -> list[Difference]:
    try:
        (masks,) = predictor.predict([fact.text], DEPTH)
    except TextError:
        return []  # a model with fewer positions cannot be asked
    published = [[token] for token in fact.top] if fact.per_mask else [list(fact.top)]
    ids = predictor.encoder.vocabulary
    return [
        Difference(
            fact.text, number, token.token, token.token_id, token.score,
            seen.token, ids.get(seen.token, -1), seen.score,
        )
        for number, (expected, given) in enumerate(zip(published, masks, strict=False), start=1)
        for token, seen in _mismatches(expected, given, ids)
    ]  # fmt: skip


def _mismatches(
    expected: Sequence[PublishedToken], given: Ranking, ids: Mapping[str, int]
) -> list[tuple[PublishedToken, Ranked]]:
    """Return published tokens whose id, rank or score is different here, with what is here instead.

    That is the same token with its score here, or else the token that has the rank here.
    """
    by_token = {entry.token: entry for entry in given}
    triples = [
        (token, at_rank, by_token.get(token.token))
        for token, at_rank in zip(expected, given, strict=False)
    ]
    return [
        (token, same if same is not None and token.score is not None else at_rank)
        for token, at_rank, same in triples
        if same is None
        or ids.get(token.token) != token.token_id
        or not _as_published(token, at_rank, same)
    ]


def _as_published(token: PublishedToken, at_rank: Ranked, same: Ranked) -> bool:
    """Tell whether a token has its published rank (or ties with it) and its published score.

    ``at_rank`` is what has the published rank here, ``same`` the same token here.
    """
    if token.score is None:
        return same == at_rank
    limit = max(CLOSE, 0.5 * 10.0**-token.digits)
    return abs(at_rank.score - same.score) <= limit and abs(same.score - token.score) <= limit
