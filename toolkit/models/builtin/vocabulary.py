"""The built-in model's vocabulary: characters in the style of bert-base-chinese, generated in code.

Special tokens have the ids of bert-base-chinese ([PAD] 0, [UNK] 100, [CLS] 101,
[SEP] 102, [MASK] 103).  Then come ASCII (lower case), Chinese punctuation, the 6,763 characters
of GB2312 in code order, and the ``##`` continuations of Latin letters and digits.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from ..tokens import CLS, MASK, PAD, SEP, UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PUNCTUATION = "，。！？：；、（）《》〈〉「」『』【】〔〕“”‘’—…·～－／％￥＋＝＜＞〇○●①②③④⑤⑥⑦⑧⑨⑩"


def gb2312_characters() -> list[str]:
    """Return the 6,763 Chinese characters of GB2312 in code order (rows 16 to 87)."""
    characters = []
    for row in range(0xB0, 0xF8):
        for cell in range(0xA1, 0xFF):
            try:
                characters.append(bytes((row, cell)).decode("gb2312"))
            except UnicodeDecodeError:  # five cells at the end of row 55 are unassigned
                continue
    return characters


def tokens(size: int | None = None) -> list[str]:
    """Return the vocabulary in id order, padded with ``[unusedN]`` to ``size`` entries.

    Raises ValueError if ``size`` is smaller than the vocabulary itself.
    """
    letters = string.ascii_lowercase + string.digits
    ascii_marks = "".join(c for c in map(chr, range(33, 127)) if c not in string.ascii_uppercase)
    entries = [PAD, *(f"[unused{i}]" for i in range(1, 100)), UNK, CLS, SEP, MASK]
    entries += [*ascii_marks, *PUNCTUATION, *gb2312_characters()]
    entries += [f"##{c}" for c in letters]
    if size is not None:
        if size < len(entries):
            raise ValueError(f"the vocabulary has {len(entries)} entries, more than {size}")
        entries += [f"[unused{i}]" for i in range(100, 100 + size - len(entries))]
    return entries


def tokenizer(size: int | None = None) -> Tokenizer:
    """Return the BERT WordPiece tokenizer over :func:`tokens` (adds [CLS] and [SEP])."""
    from tokenizers import AddedToken
    from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

    vocabulary = {token: index for index, token in enumerate(tokens(size))}
    wrapper = BertWordPieceTokenizer(vocab=vocabulary, lowercase=True)
    wrapper.add_special_tokens([AddedToken(t, special=True) for t in (PAD, UNK, CLS, SEP, MASK)])
    return wrapper._tokenizer
