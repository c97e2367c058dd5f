"""The gold set: sentences with one [MASK] and the one right character.

``gold.jsonl`` is what the gate asks; ``heldout.jsonl`` holds carrier sentences the built-in model
never saw in training.  One JSON object a line::

    {"id": "p001", "category": "poem", "text": "...[MASK]...", "answer": "...", "source": "..."}

``source`` may be missing, other fields are ignored, any category name will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...engines.text import TextEncoder, UnknownCandidateError, spelled
from ...errors import UnusableInputError
from ...files import half_surrogate, package_path, read_text, sha256
from ...models.tokens import MASK

FOLDER = package_path("toolkit/gate/gold")
BUILTIN = FOLDER / "gold.jsonl"
HELDOUT = FOLDER / "heldout.jsonl"
NAMED = {"builtin": BUILTIN, "heldout": HELDOUT}
SHOWN_ERRORS = 5


@dataclass(frozen=True)
class GoldItem:
    """One sentence with one [MASK], and the token that belongs there."""

    id: str
    category: str
    text: str
    answer: str
    source: str = ""


@dataclass(frozen=True)
class GoldSet:
    """The items of one file, its name and the SHA-256 of its bytes."""

    name: str
    digest: str
    items: tuple[GoldItem, ...]

    def texts(self) -> list[str]:
        """Return the sentences in file order."""
        return [item.text for item in self.items]

    def as_read(self, encoder: TextEncoder) -> GoldSet:
        """Return the set with every answer as a tokenizer reads it.

        Raises UnusableInputError unless every answer is one token.
        """
        return replace(self, items=tuple(self._as_read(item, encoder) for item in self.items))

    def _as_read(self, item: GoldItem, encoder: TextEncoder) -> GoldItem:
        try:
            token_id = encoder.candidate_id(item.answer)
        except UnknownCandidateError:
            raise UnusableInputError(
                f"gold file {self.name}: answer {spelled(item.answer)} of item {item.id}"
                " is not a token of the model's vocabulary"
            ) from None
        return replace(item, answer=encoder.token(token_id))


def read_gold(path: Path = BUILTIN) -> GoldSet:
    """Read and validate a gold file.

    Raises UnusableInputError naming the line number and the reason of the first bad lines.
    """
    lines = read_text(path, f"gold file {path}").split("\n")
    items: list[GoldItem] = []
    problems: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        result = _item(line)
        if isinstance(result, str):
            problems.append(f"line {number}: {result}")
        elif result.id in seen:
            problems.append(f"line {number}: id {result.id!r} is taken by line {seen[result.id]}")
        else:
            seen[result.id] = number
            items.append(result)
    if problems:
        raise UnusableInputError(_summary(path, problems))
    if not items:
        raise UnusableInputError(f"gold file {path} holds no items")
    return GoldSet(path.name, sha256(path), tuple(items))


def _summary(path: Path, problems: Sequence[str]) -> str:
    more = len(problems) - SHOWN_ERRORS
    rest = f"; and {more} more" if more > 0 else ""
    return f"gold file {path}: {'; '.join(problems[:SHOWN_ERRORS])}{rest}"


def _item(line: str) -> GoldItem | str:
    """Return the item of one line, or what is wrong with it."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    if not isinstance(data, dict):
        return "not a JSON object"
    source = data.get("source", "")
    if not isinstance(source, str):
        return "'source' is not a string"
    for field in ("id", "category", "text", "answer"):
        value = data.get(field)
        if not isinstance(value, str) or not value.strip():
            return f"{field!r} is missing or is not a non-empty string"
    if unfit := _unfit({**data, "source": source}):
        return unfit
    if (count := data["text"].count(MASK)) != 1:
        return f"'text' has {count} {MASK}, not one"
    if data["answer"] != data["answer"].strip():
        return f"answer {data['answer']!r} has spaces around it"
    return GoldItem(data["id"], data["category"], data["text"], data["answer"], source)


def _unfit(data: Mapping[str, Any]) -> str:
    """Return which text has a character that a request or a page cannot take, or nothing."""
    for field in ("id", "category", "text", "answer", "source"):
        if half := half_surrogate(data[field]):
            return f"{field!r} has half a surrogate, {half}"
        if "\0" in data[field]:
            return f"{field!r} has a null character"
    return ""


def find_gold(gold: str) -> GoldSet:
    """Return a gold set: ``builtin``, ``heldout``, or the path of a file."""
    return read_gold(NAMED.get(gold, Path(gold)))
