"""Sentences: what is asked, in which order, and the right answers to hold a loaded server to."""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...toolkit.engines.text import MASK, TextEncoder
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.gate.answers import Answers, Ranking
from ...toolkit.gate.gold import GoldItem, GoldSet
from .direct import direct

DEPTH = 10  # of a right ranking: enough to tell a tie at the fifth place
OF_ONE_LENGTH = 8
ASK_SECONDS = 60.0


@dataclass(frozen=True)
class Questions:
    """Sentences in the order they are sent, with the right ranking of each."""

    texts: Sequence[str]
    expected: Sequence[Ranking]


def shuffled(gold: GoldSet, seed: int) -> list[GoldItem]:
    """Return the gold set's items in the order a seed gives."""
    items = list(gold.items)
    random.Random(seed).shuffle(items)
    return items


def gold_questions(gold: GoldSet, answers: Answers, seed: int) -> Questions:
    """Return the gold set in shuffled order with a variant's own kept answers."""
    items = shuffled(gold, seed)
    expected = [list(answers.rankings[item.id][:DEPTH]) for item in items]
    return Questions([item.text for item in items], expected)


def of_length(folder: Path, gold: GoldSet, tokens: int, seed: int) -> list[str]:
    """Return sentences of exactly so many tokens (specials counted), made of the gold set's.

    Each is one gold sentence followed by others whose [MASK] is filled, cut to length around the
    [MASK].  Raises UnusableInputError if the variant in ``folder`` cannot take such a length.
    """
    encoder = TextEncoder.from_folder(folder)
    items = shuffled(gold, seed)
    filled = [item.text.replace(MASK, item.answer) for item in items]
    found: list[str] = []
    for number, item in enumerate(items):
        rest = (filled[number + 1 :] + filled[:number]) * (1 + tokens // len(items))
        piece = encoder.cut(item.text + "".join(rest[:tokens]), tokens)
        if piece is not None:
            found.append(piece)
        if len(found) == OF_ONE_LENGTH:
            return found
    raise UnusableInputError(
        f"the gold set {gold.name} makes no {OF_ONE_LENGTH} sentences of {tokens} tokens"
    )


def ask(url: str, texts: Sequence[str]) -> Questions:
    """Ask a server that nobody else asks each text alone and return its answers as the right ones.

    Raises InvalidMeasurementError if it does not answer as ``POST /predict`` should.
    """
    return Questions(texts, [_ask(url, text) for text in texts])


def _ask(url: str, text: str) -> Ranking:
    body = json.dumps({"text": text, "top_k": DEPTH}).encode()
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/predict", body, head)
    try:
        with direct(request, timeout=ASK_SECONDS) as response:
            results = json.load(response)["results"]
        return [(str(entry["token"]), float(entry["score"])) for entry in results]
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidMeasurementError(
            f"{url}/predict does not answer {text!r} as a fill-mask server should: {error}"
        ) from None
