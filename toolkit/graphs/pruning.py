"""A smaller vocabulary: the tokenizer loses tokens that Chinese text hardly needs.

rewrites.py removes them from the graph.  Kept are the special tokens, every single character, and
every ``##`` continuation of one character that the tokenizer can produce.  Removed are
continuations that it can never produce (``##`` before a Chinese character, which is always a word
of its own), ``[unusedN]``, and pieces of several characters: a Latin word or a number is then
spelled character by character.  So Chinese sentences are tokenized as before; those with Latin
words or numbers are not, and a removed token can no longer be an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from ..engines.text import TextEncoder
from ..errors import UnusableInputError
from ..models.tokens import whole_ids

CONTINUED = "##"


def kept_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that stay, in ascending order."""
    whole = whole_ids(tokenizer)
    return sorted(
        index
        for token, index in tokenizer.get_vocab().items()
        if index in whole or _stays(tokenizer, token)
    )


def _stays(tokenizer: Tokenizer, token: str) -> bool:
    if token.startswith(CONTINUED) and len(token) > len(CONTINUED):
        rest = token.removeprefix(CONTINUED)
        return len(rest) == 1 and _can_follow(tokenizer, rest)
    return len(token) == 1


def _can_follow(tokenizer: Tokenizer, character: str) -> bool:
    """Return whether the tokenizer puts a character into one word with a letter before it."""
    text = f"a{character}"
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return True
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] == [f"a{character}"]


def prune_tokenizer(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Return a tokenizer of the kept tokens only, with new ids in the same order.

    Raises UnusableInputError if the tokenizer is not WordPiece: other kinds need more than a
    vocabulary to choose pieces.
    """
    data = json.loads(tokenizer.to_str())
    if data["model"].get("type") != "WordPiece":
        raise UnusableInputError(
            "only a WordPiece vocabulary can be pruned: leave out the small variants"
        )
    new_ids = {old: index for index, old in enumerate(kept)}
    vocabulary = data["model"]["vocab"]
    data["model"]["vocab"] = {t: new_ids[i] for t, i in vocabulary.items() if i in new_ids}
    for added in data["added_tokens"]:
        added["id"] = new_ids[added["id"]]
    _renumber_special_tokens(data.get("post_processor"), new_ids)
    return Tokenizer.from_str(json.dumps(data, ensure_ascii=False))


def pruned_encoder(encoder: TextEncoder) -> TextEncoder:
    """Return the encoder of the pruned vocabulary."""
    tokenizer = prune_tokenizer(encoder.tokenizer, kept_ids(encoder.tokenizer))
    return TextEncoder(tokenizer, encoder.max_tokens, encoder.max_masks)


def _renumber_special_tokens(processor: dict[str, Any] | None, new_ids: dict[int, int]) -> None:
    """Give [CLS] and [SEP] their new ids in the post-processor."""
    if processor is None:
        return
    for end in ("cls", "sep"):
        if end in processor:
            token, index = processor[end]
            processor[end] = [token, new_ids[index]]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new_ids[index] for index in special["ids"]]


def prune_config(config: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return ``config.json`` for a pruned vocabulary."""
    changed = {**config, "vocab_size": len(kept)}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if isinstance(config.get(key), int):
            changed[key] = list(kept).index(config[key]) if config[key] in kept else None
    return changed
