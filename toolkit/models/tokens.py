"""The special tokens of masked language models, as they are spelled."""

from __future__ import annotations

from collections.abc import Container

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SENTENCEPIECE = {UNK: "<unk>", SEP: "<sep>", PAD: "<pad>", CLS: "<cls>", MASK: "<mask>"}
"""How a tokenizer made with SentencePiece may spell them instead."""


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
