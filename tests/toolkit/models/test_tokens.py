"""Special tokens: how they are spelled, and that they stay whole wherever a file lists them."""

from __future__ import annotations

import doctest
import json

import pytest
from tokenizers import Tokenizer, models

from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.graphs.pruning import kept_ids, prune_tokenizer, pruned_encoder
from tiankong.toolkit.models import tokens
from tiankong.toolkit.models.builtin import vocabulary

SPECIAL = [tokens.PAD, tokens.UNK, tokens.CLS, tokens.SEP, tokens.MASK]
TEXTS = ["[MASK]龘好[UNK]天", "天[PAD][MASK] [SEP][CLS]a", "\U0002a6d6[MASK]ꙮ"]


def unlisted(*lacking: str) -> Tokenizer:
    """Return the built-in tokenizer, whose file does not list some of its special tokens."""
    data = json.loads(vocabulary.tokenizer().to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in lacking]
    return Tokenizer.from_str(json.dumps(data))


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(tokens).attempted == 1
    assert doctest.testmod(tokens).failed == 0


@pytest.mark.parametrize("lacking", [*SPECIAL, SPECIAL])
def test_a_special_token_is_whole_though_no_list_has_it(lacking: str | list[str]) -> None:
    bare = unlisted(*([lacking] if isinstance(lacking, str) else lacking))
    right = TextEncoder(vocabulary.tokenizer())
    ours = TextEncoder(bare)
    assert [ours.encode(text) for text in TEXTS] == [right.encode(text) for text in TEXTS]
    assert ours.vocabulary == right.vocabulary


@pytest.mark.parametrize("lacking", [*SPECIAL, SPECIAL])
def test_pruning_keeps_special_tokens_that_no_list_has(lacking: str | list[str]) -> None:
    right = pruned_encoder(TextEncoder(vocabulary.tokenizer()))
    bare = unlisted(*([lacking] if isinstance(lacking, str) else lacking))
    ours = TextEncoder(prune_tokenizer(bare, kept_ids(bare)))
    assert ours.vocabulary == right.vocabulary
    assert [ours.encode(text) for text in TEXTS] == [right.encode(text) for text in TEXTS]


def test_what_a_list_says_of_a_special_token_stands() -> None:
    data = json.loads(vocabulary.tokenizer().to_str())
    mask = next(t for t in data["added_tokens"] if t["content"] == tokens.MASK)
    mask["lstrip"] = True
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokens.keep_whole(tokenizer)
    assert tokenizer.get_added_tokens_decoder()[mask["id"]].lstrip


def test_a_tokenizer_without_a_token_for_the_unknown() -> None:
    lacking = Tokenizer(models.WordPiece({"[MASK]": 0, "a": 1}, unk_token="[UNK]"))
    assert not tokens.reads_unknown(lacking)
    assert tokens.reads_unknown(vocabulary.tokenizer())
