"""The special tokens' ids of bert-base-chinese, and the vocabulary's content."""

from __future__ import annotations

import pytest

from tiankong.toolkit.models.builtin import vocabulary
from tiankong.toolkit.models.builtin.catalogue import small_geometry


def test_specials_sit_where_bert_base_chinese_has_them() -> None:
    entries = vocabulary.tokens()
    places = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    assert {token: entries.index(token) for token in places} == places


def test_gb2312_is_whole_and_in_code_order() -> None:
    characters = vocabulary.gb2312_characters()
    assert len(characters) == len(set(characters)) == 6763
    assert (characters[0], characters[-1]) == ("啊", "齄")
    assert characters == sorted(characters, key=lambda c: c.encode("gb2312"))


def test_no_token_twice_and_no_capitals() -> None:
    entries = vocabulary.tokens(21128)
    assert len(entries) == len(set(entries)) == 21128
    assert not [t for t in entries if len(t) == 1 and t != t.lower()]


def test_filling_up_leaves_the_ids_alone() -> None:
    small = vocabulary.tokens()
    assert vocabulary.tokens(21128)[: len(small)] == small
    assert len(small) == small_geometry().vocabulary


def test_a_size_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100"):
        vocabulary.tokens(100)


def test_the_tokenizer_lowers_splits_and_knows_specials() -> None:
    tokenizer = vocabulary.tokenizer()
    assert tokenizer.get_vocab_size() == len(vocabulary.tokens())
    encoded = tokenizer.encode("AB天[MASK]，龘").tokens
    assert encoded == ["[CLS]", "a", "##b", "天", "[MASK]", "，", "[UNK]", "[SEP]"]


@pytest.mark.parametrize("mark", list("，。！？：；,.!?"))
def test_punctuation_is_known(mark: str) -> None:
    assert vocabulary.tokenizer().token_to_id(mark) is not None
