"""Calibration sentences: what fixed 8-bit scales are set by.

They are the user's (``--calibration FILE``), one a line, each with one [MASK] or more.  Otherwise
they are the 64 Chinese sentences shipped here, if they fit the model's tokenizer, or sentences that
the model writes itself (see own_sentences.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..console import say
from ..engines.text import STRANGE, Batch, TextEncoder, TextError
from ..errors import UnusableInputError
from ..files import package_path, read_text
from .manifest import Manifest, read_manifest
from .recipes import FIXED, Recipe

SHIPPED = package_path("toolkit/building/calibration.txt")  # no sentence of the gold sets
FITTING = 0.2  # the largest share of unknown tokens in sentences that fit a tokenizer
MOST_TOKENS = 1.5  # for a character, in sentences that fit it
WAYS, QUESTIONS, SEED = 8, 512, 0  # how often each sentence is asked, how many in all
NOTE = "calibration"  # the key in a manifest's notes, if the sentences are a user's


@dataclass(frozen=True)
class Calibration:
    """Calibration sentences: the file's name, the lines, and their SHA-256.

    ``given``: they are a user's, not the shipped ones.
    """

    name: str
    texts: tuple[str, ...]
    digest: str
    given: bool

    @property
    def note(self) -> str:
        """What a manifest says of the file."""
        return f"{self.name}, SHA-256 {self.digest[:12]}"

    def fits(self, encoder: TextEncoder) -> bool:
        """Tell whether a tokenizer reads these sentences: it knows nearly all of their tokens.

        One that cuts characters into bytes knows every byte, and needs several for a character.
        """
        unknown, tokens, characters = 0.0, 0, 0
        for text in self.texts:
            ids = encoder.tokenizer.encode(text).ids
            unknown += encoder.unknown_share(ids)
            tokens += len(ids)
            characters += len(text)
        return unknown <= FITTING * len(self.texts) and tokens <= MOST_TOKENS * characters

    def encode(self, encoder: TextEncoder) -> list[list[int]]:
        """Return the ids of the sentences; those that the model cannot take are left out.

        Raises UnusableInputError if it can take none.
        """
        encoded, reason = [], ""
        for text in self.texts:
            try:
                encoded.append(encoder.encode(text))
            except TextError as error:
                reason = reason or f"{text[:40]!r}: {error}"
        if not encoded:
            raise UnusableInputError(
                f"none of the calibration sentences of {self.name} can be used ({reason}): name"
                " others by --calibration"
            )
        if left_out := len(self.texts) - len(encoded):
            say(f"calibration: {left_out} of {len(self.texts)} sentences left out ({reason})")
        self._tell_strange(encoder, encoded)
        return encoded

    def _tell_strange(self, encoder: TextEncoder, encoded: list[list[int]]) -> None:
        """Say so if the tokenizer does not know most of the sentences' tokens."""
        shares = [encoder.unknown_share(ids) for ids in encoded]
        if sum(shares) > STRANGE * len(shares):
            say(
                f"calibration: the tokenizer knows few of the tokens of {self.name}: 8-bit variants"
                " may fail the gate; name sentences of the model's kind by --calibration"
            )


def asked_in_many_ways(encoder: TextEncoder, sentences: Sequence[Sequence[int]]) -> list[Batch]:
    """Return a batch for each sentence: as it is, and with one more token masked, in many ways.

    Part of the model is computed at masks alone, so few sentences would show it few values.  Seen
    with builtin-small: eight ways instead of one halve the divergence of what is calibrated so.
    """
    random = np.random.default_rng(SEED)
    ways = min(WAYS, max(1, QUESTIONS // len(sentences)))
    batches = []
    for ids in sentences:
        places = [p for p, token in enumerate(ids) if p and token != encoder.mask_id][:-1]
        if list(ids).count(encoder.mask_id) >= encoder.max_masks:
            places = []
        chosen = random.permutation(places)[: ways - 1]
        more = [[encoder.mask_id if p == place else t for p, t in enumerate(ids)]
                for place in chosen]  # fmt: skip
        batches.append(encoder.batch([list(ids), *more]))
    return batches


def read_calibration(path: Path | None = None) -> Calibration:
    """Read a file of sentences, the shipped ones without a path.

    Raises UnusableInputError if it cannot be read or has no sentences.
    """
    text = read_text(path or SHIPPED, f"calibration sentences {path or SHIPPED}")
    texts = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not texts:
        raise UnusableInputError(f"{path} has no sentences: write one a line, with a [MASK]")
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
    return Calibration((path or SHIPPED).name, texts, digest, path is not None)


def is_calibrated(manifest: Manifest, wanted: Calibration | None) -> bool:
    """Tell whether a variant was built with these sentences, or needs none.

    Without wanted sentences any will do: a variant keeps those it was built with.
    """
    if wanted is None or FIXED not in manifest.recipe.steps:
        return True
    return manifest.notes.get(NOTE) == wanted.note


def require_calibration(folder: Path, recipe: Recipe, wanted: Calibration | None) -> None:
    """Raise UnusableInputError if a variant to be built again would lose a user's sentences."""
    if wanted is not None or FIXED not in recipe.steps:
        return
    try:
        note = read_manifest(folder).notes.get(NOTE)
    except UnusableInputError:
        return
    if note:
        raise UnusableInputError(
            f"{recipe.name} has to be built again, and was calibrated on {note}: run 'tiankong"
            f" build' with these sentences as --calibration, or delete {folder} for the shipped"
            " ones"
        )
