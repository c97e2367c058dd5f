"""A variant's tokenizer compared with the reference's."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer

from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.gate.same_tokens import difference
from tiankong.toolkit.graphs.pruning import pruned_encoder
from tiankong.toolkit.models.builtin import vocabulary

REFERENCE = TextEncoder(vocabulary.tokenizer())


def changed(**normalizer: Any) -> TextEncoder:
    data = json.loads(vocabulary.tokenizer().to_str())
    data["normalizer"] |= normalizer
    return TextEncoder(Tokenizer.from_str(json.dumps(data)))


def without(*tokens: str) -> TextEncoder:
    data = json.loads(vocabulary.tokenizer().to_str())
    kept = [token for token in data["model"]["vocab"] if token not in tokens]
    data["model"]["vocab"] = {token: number for number, token in enumerate(kept)}
    return TextEncoder(Tokenizer.from_str(json.dumps(data)))


def test_the_same_one() -> None:
    assert difference(changed(), REFERENCE, ["T恤[MASK]"]) == ""


def test_another_normalization_is_named_with_the_sentence() -> None:
    found = difference(changed(lowercase=False), REFERENCE, ["天[MASK]", "T恤[MASK]"])
    assert found.startswith("'T恤[MASK]' reads [CLS] [UNK] 恤")


def test_a_pruned_vocabulary_is_held_to_the_one_pruned_alike() -> None:
    right = pruned_encoder(REFERENCE)
    texts = ["天[MASK]", "T恤[MASK]"]
    assert difference(pruned_encoder(REFERENCE), right, texts) == ""
    assert "has the id" in difference(REFERENCE, right, texts)
    data = json.loads(right.tokenizer.to_str())
    data["normalizer"]["lowercase"] = False
    both = TextEncoder(Tokenizer.from_str(json.dumps(data)))
    assert "T恤" in difference(both, right, texts)


def test_a_sentence_that_only_one_can_read() -> None:
    short = TextEncoder(vocabulary.tokenizer(), max_tokens=8)
    assert "more than 8" in difference(short, REFERENCE, ["天" * 9 + "[MASK]"])
