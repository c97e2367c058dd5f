"""From sentences to token ids.  All tokenization happens here, without transformers.

A tokenizer is the ``tokenizer.json`` of a variant folder, read by the tokenizers library.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..errors import UnusableInputError
from ..models.tokens import MASK, UNK, keep_whole, reads_unknown, special_tokens

LONG = 2_000  # characters that take about a millisecond to encode
UNIFIED = "CJK UNIFIED IDEOGRAPH"  # how the names of Chinese characters begin
STRANGE = 0.5  # with more unknown tokens than this share, a text is not of the model's kind
SHOWN = 8  # characters of a token in an error
Ids = NDArray[np.int64]


class TextError(ValueError):
    """A sentence that the model cannot answer (no [MASK], too long, ...).

    For programs, ``code`` is a word for the kind of error, and ``values`` are the figures and words
    that the message mentions.
    """

    def __init__(self, message: str, code: str, **values: int | str) -> None:
        super().__init__(message)
        self.code = code
        self.values = values


class NoMaskError(TextError):
    """The sentence has no [MASK]."""


class TooLongError(TextError):
    """The sentence is longer than the model's positions, or has too many masks."""


class UnknownCandidateError(TextError):
    """A candidate is not a single token of the vocabulary."""


def ceiling(tokens: int, multiple: int) -> int:
    """Return the least multiple that is no less than ``tokens``.

    >>> ceiling(17, 8), ceiling(16, 8), ceiling(5, 1)
    (24, 16, 5)
    """
    return -(-tokens // multiple) * multiple


def spelled(token: str) -> str:
    """Return a token as an error shows it, with code points where it may look like another.

    ASCII and unified Chinese characters look like nothing else.

    >>> print(spelled("上"), spelled("Ａ"), spelled("上" * 20))
    '上' 'Ａ' (U+FF21) '上上上上上上上上' ... (20 characters)
    """
    if len(token) > SHOWN:
        return f"{token[:SHOWN]!r} ... ({len(token)} characters)"
    if all(c.isascii() or unicodedata.name(c, "").startswith(UNIFIED) for c in token):
        return repr(token)
    return f"{token!r} ({' '.join(f'U+{ord(character):04X}' for character in token)})"


@dataclass(frozen=True)
class Batch:
    """Sentences as the model takes them: int64 arrays of shape (sentences, tokens).

    ``rows`` and ``columns`` (shape (masks,)) say where the masks stand, sentence by sentence.
    """

    input_ids: Ids
    attention_mask: Ids
    token_type_ids: Ids
    rows: Ids
    columns: Ids


class TextEncoder:
    """Sentences to :class:`Batch`, token ids to tokens.

    Args:
        tokenizer: the tokenizer; its padding and truncation are switched off.
        max_tokens: positions the model has, [CLS] and [SEP] included.
        max_masks: masks allowed in one sentence.

    The attribute ``mask_id`` is the id of [MASK].

    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int = 512, max_masks: int = 8) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        keep_whole(tokenizer)
        mask_id = tokenizer.token_to_id(MASK)
        if mask_id is None:
            raise UnusableInputError(f"the tokenizer has no {MASK} token")
        if not reads_unknown(tokenizer):
            raise UnusableInputError(f"the tokenizer has no {UNK}, so rare characters stop it")
        pad_id = tokenizer.token_to_id("[PAD]")
        if pad_id is None:
            pad_id = tokenizer.token_to_id("<pad>")  # as SentencePiece spells it
        # ``id_to_token`` gives an added token as the normalizer leaves it, spaces and all.
        added = tokenizer.get_added_tokens_decoder()
        self._added = {index: token.content for index, token in added.items()}
        self.tokenizer = tokenizer
        self.mask_id = mask_id
        self._pad_id = 0 if pad_id is None else pad_id
        self.max_tokens = max_tokens
        self.max_masks = max_masks

    @classmethod
    def from_folder(cls, folder: Path, max_tokens: int = 512) -> TextEncoder:
        """Read ``tokenizer.json`` of a folder; raise UnusableInputError if it cannot be read."""
        path = folder / "tokenizer.json"
        try:
            return cls(Tokenizer.from_file(str(path)), max_tokens)
        except UnusableInputError as error:
            raise UnusableInputError(f"{path}: {error}") from None
        except Exception as error:  # the library raises bare Exception
            raise UnusableInputError(f"{path} is not a readable tokenizer: {error}") from None

    @property
    def vocabulary(self) -> dict[str, int]:
        """Token to id, the added tokens included."""
        return self.tokenizer.get_vocab()

    def token(self, token_id: int) -> str:
        """Return the token of an id (an id past the tokenizer's end reads ``[id 30000]``)."""
        known = self._added.get(token_id) or self.tokenizer.id_to_token(token_id)
        return known or f"[id {token_id}]"

    def candidate_id(self, candidate: str) -> int:
        """Return the id of a candidate; raise UnknownCandidateError if it is not one token.

        It is read as the tokenizer reads a text: a compatibility character, or a capital letter,
        may be another token than it looks like.
        """
        for token in (self._normalized(candidate), candidate):
            if token and (token_id := self.tokenizer.token_to_id(token)) is not None:
                return token_id
        shown = spelled(candidate)
        raise UnknownCandidateError(
            f"candidate {shown} is not in the vocabulary", "unknown_candidate", candidate=shown
        )

    def _normalized(self, token: str) -> str:
        normalizer = self.tokenizer.normalizer
        return token if normalizer is None else normalizer.normalize_str(token).strip()

    def encode(self, text: str) -> list[int]:
        """Return the ids of one sentence with [CLS] and [SEP]; raise a TextError if unusable."""
        if len(text) > LONG:  # ``encode`` would hold the GIL meanwhile
            ids = self.tokenizer.encode_batch_fast([text])[0].ids
        else:
            ids = self.tokenizer.encode(text).ids
        masks = ids.count(self.mask_id)
        if not masks:
            raise NoMaskError(f"the text has no {MASK}", "no_mask")
        if len(ids) > self.max_tokens:
            tokens, most = len(ids), self.max_tokens
            message = f"the text has {tokens} tokens, more than {most}"
            raise TooLongError(message, "too_many_tokens", tokens=tokens, most=most)
        if masks > self.max_masks:
            most = self.max_masks
            message = f"the text has {masks} {MASK}, more than {most}"
            raise TooLongError(message, "too_many_masks", masks=masks, most=most)
        return ids

    def unknown_share(self, ids: Sequence[int]) -> float:
        """Return the share of unknown tokens among a sentence's own ([CLS], [SEP], masks apart)."""
        unknown = self.vocabulary.get(special_tokens(self.vocabulary).get("unk_token", ""))
        words = [token for token in ids[1:-1] if token != self.mask_id]
        return words.count(unknown) / len(words) if words and unknown is not None else 0.0

    def framed(self, ids: list[int]) -> list[int]:
        """Return ids with the special tokens around them ([CLS] before, [SEP] after)."""
        example = self.tokenizer.encode(MASK).ids
        place = example.index(self.mask_id)
        return [*example[:place], *ids, *example[place + 1 :]]

    def cut(self, text: str, tokens: int) -> str | None:
        """Return a piece of a text that has exactly ``tokens`` tokens, specials included.

        It keeps the first [MASK].  None if the text is too short, or if the piece has another
        number of tokens when it is encoded on its own.
        """
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        specials = self.tokenizer.num_special_tokens_to_add(False)
        wanted, mask = tokens - specials, encoding.ids.index(self.mask_id)
        if wanted > len(encoding.ids) or wanted < 1:
            return None
        begin = 0 if mask < wanted else mask - wanted // 2
        begin = min(begin, len(encoding.ids) - wanted)
        piece = text[encoding.offsets[begin][0] : encoding.offsets[begin + wanted - 1][1]]
        ids = self.tokenizer.encode(piece).ids
        return piece if len(ids) == tokens and ids.count(self.mask_id) == 1 else None

    def batch(self, encoded: Sequence[Sequence[int]], multiple: int = 1) -> Batch:
        """Pad sentences to the longest one, rounded up to a multiple of ``multiple`` tokens."""
        longest = max(map(len, encoded))
        shape = (len(encoded), max(longest, min(ceiling(longest, multiple), self.max_tokens)))
        input_ids = np.full(shape, self._pad_id, dtype=np.int64)
        attention_mask = np.zeros(shape, dtype=np.int64)
        for row, ids in enumerate(encoded):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        rows, columns = np.nonzero(input_ids == self.mask_id)
        return Batch(input_ids, attention_mask, np.zeros(shape, np.int64), rows, columns)
