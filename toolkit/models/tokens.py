"""The special tokens of masked language models: how they are spelled, and that they stay whole."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SENTENCEPIECE = {UNK: "<unk>", SEP: "<sep>", PAD: "<pad>", CLS: "<cls>", MASK: "<mask>"}
"""How a tokenizer made with SentencePiece may spell them instead."""

RARE = "\ua66e\U0002a6d6"  # a letter found in one manuscript, a Chinese character of extension B


def special_tokens(known: Container[str]) -> dict[str, str]:
    """Return the special tokens a vocabulary has, as ``tokenizer_config.json`` names them.

    >>> special_tokens({"[MASK]", "<pad>", "[UNK]", "<unk>"})
    {'unk_token': '[UNK]', 'pad_token': '<pad>', 'mask_token': '[MASK]'}
    """
    specials = {}
    for usual, other in SENTENCEPIECE.items():
        if spelled := next((token for token in (usual, other) if token in known), None):
            specials[f"{usual[1:-1].lower()}_token"] = spelled
    return specials


def whole_ids(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of the tokens that are never cut: special and added tokens.

    A special token counts whether or not the tokenizer's file lists it among ``added_tokens``.
    """
    known = tokenizer.get_vocab()
    special = {*special_tokens(known).values(), getattr(tokenizer.model, "unk_token", None)}
    return {*tokenizer.get_added_tokens_decoder(), *(known[t] for t in special if t in known)}


def keep_whole(tokenizer: Tokenizer) -> None:
    """Let a tokenizer find every special token of its vocabulary in a text, in one piece.

    Those that the tokenizer's file lists among ``added_tokens`` are left as they are.
    """
    from tokenizers import AddedToken

    listed = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    lacking = [t for t in special_tokens(tokenizer.get_vocab()).values() if t not in listed]
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in lacking])


def reads_unknown(tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer has a token for characters that it does not know."""
    try:
        tokenizer.encode(RARE)
    except Exception:  # the library raises bare Exception
        return False
    return True
