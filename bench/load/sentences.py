"""Sentences: what is sent, in which order, and the right answers to check a loaded server by."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from ...toolkit.engines.predictor import Ranked, Ranking
from ...toolkit.engines.text import TextEncoder
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.gate.answers import Answers
from ...toolkit.gate.gold import GoldItem, GoldSet
from ...toolkit.models.tokens import MASK
from .target import Target

DEPTH = 10  # ranks of a right answer: enough to recognise a tie at rank five
OF_ONE_LENGTH = 8
ASK_SECONDS = 60.0


@dataclass(frozen=True)
class Questions:
    """Sentences in the order they are sent, with the right ranking of each."""

    texts: Sequence[str]
    expected: Sequence[Ranking]


def shuffled(gold: GoldSet, seed: int) -> list[GoldItem]:
    """Return the gold set's items in a random order, the same for the same seed."""
    items = list(gold.items)
    random.Random(seed).shuffle(items)
    return items


def gold_questions(gold: GoldSet, answers: Answers, seed: int) -> Questions:
    """Return the shuffled gold set with a variant's own stored answers."""
    items = shuffled(gold, seed)
    expected = [list(answers.rankings[item.id][:DEPTH]) for item in items]
    return Questions([item.text for item in items], expected)


def of_length(folder: Path, gold: GoldSet, tokens: int, seed: int) -> list[str]:
    """Return sentences of exactly ``tokens`` tokens, special tokens included.

    Each is one gold sentence followed by others whose [MASK] is filled, cut to length around the
    [MASK].  Raises UnusableInputError if the variant in ``folder`` cannot take such a length.
    """
    encoder = TextEncoder.from_folder(folder)
    items = shuffled(gold, seed)
    filled = [item.text.replace(MASK, item.answer) for item in items]
    pieces: list[str] = []
    for number, item in enumerate(items):
        rest = (filled[number + 1 :] + filled[:number]) * (1 + tokens // len(items))
        piece = encoder.cut(item.text + "".join(rest[:tokens]), tokens)
        if piece is not None:
            pieces.append(piece)
        if len(pieces) == OF_ONE_LENGTH:
            return pieces
    raise UnusableInputError(
        f"the gold set {gold.name} gives fewer than {OF_ONE_LENGTH} sentences of {tokens} tokens"
    )


def ask(target: Target, texts: Sequence[str]) -> Questions:
    """Send a server one text at a time and return its unloaded answers as the right ones.

    Raises InvalidMeasurementError if it does not answer as ``POST /predict`` should.
    """
    return Questions(texts, [_ask(target, text) for text in texts])


def _ask(target: Target, text: str) -> Ranking:
    question = {"text": text, "top_k": DEPTH}
    try:
        with target.ask("/predict", question, timeout=ASK_SECONDS) as response:
            results = json.load(response)["results"]
        return [Ranked(str(entry["token"]), float(entry["score"])) for entry in results]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise InvalidMeasurementError(
            f"{target.url}/predict does not answer {text!r} as a fill-mask server should: {error}"
        ) from None
