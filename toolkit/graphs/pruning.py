"""A smaller vocabulary: tokens that Chinese text hardly needs leave the tokenizer.

They leave the graph in rewrites.py.  Kept are the special tokens, every single character, and every
``##`` continuation of one character that the tokenizer can give.  Left out are continuations it can
never give (``##`` before a Chinese character, which always stands alone), ``[unusedN]``, and pieces
of several characters: a Latin word or a number is then spelled character by character.  So Chinese
sentences are tokenized as before, those with Latin words or numbers are not, and a token left out
is no answer any more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from ..engines.text import TextEncoder
from ..errors import UnusableInputError

CONTINUED = "##"


def kept_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that stay, in their order."""
    special = tokenizer.get_added_tokens_decoder()
    return sorted(
        index
        for token, index in tokenizer.get_vocab().items()
        if index in special or _stays(tokenizer, token)
    )


def _stays(tokenizer: Tokenizer, token: str) -> bool:
    if token.startswith(CONTINUED) and len(token) > len(CONTINUED):
        rest = token.removeprefix(CONTINUED)
        return len(rest) == 1 and _can_follow(tokenizer, rest)
    return len(token) == 1


def _can_follow(tokenizer: Tokenizer, character: str) -> bool:
    """Tell whether a character can be the second one of a word."""
    text = f"a{character}"
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return True
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] == [f"a{character}"]


def prune_tokenizer(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Return a tokenizer of the kept tokens only, numbered anew in their order.

    Raises UnusableInputError for a tokenizer that is no WordPiece (its pieces are not ranked by
    a vocabulary alone).
    """
    data = json.loads(tokenizer.to_str())
    if data["model"].get("type") != "WordPiece":
        raise UnusableInputError(
            "only a WordPiece vocabulary can be pruned: leave out the small variants"
        )
    new = {old: index for index, old in enumerate(kept)}
    vocabulary = data["model"]["vocab"]
    data["model"]["vocab"] = {t: new[i] for t, i in vocabulary.items() if i in new}
    for added in data["added_tokens"]:
        added["id"] = new[added["id"]]
    _renumber_frame(data.get("post_processor"), new)
    return Tokenizer.from_str(json.dumps(data, ensure_ascii=False))


def pruned_encoder(encoder: TextEncoder) -> TextEncoder:
    """Return the encoder of the pruned vocabulary."""
    tokenizer = prune_tokenizer(encoder.tokenizer, kept_ids(encoder.tokenizer))
    return TextEncoder(tokenizer, encoder.max_tokens, encoder.max_masks)


def _renumber_frame(processor: dict[str, Any] | None, new: dict[int, int]) -> None:
    """Renumber [CLS] and [SEP] where the post-processor names them."""
    if processor is None:
        return
    for end in ("cls", "sep"):
        if end in processor:
            token, index = processor[end]
            processor[end] = [token, new[index]]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new[index] for index in special["ids"]]


def prune_config(config: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return ``config.json`` for a pruned vocabulary."""
    changed = {**config, "vocab_size": len(kept)}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if isinstance(config.get(key), int):
            changed[key] = list(kept).index(config[key]) if config[key] in kept else None
    return changed
