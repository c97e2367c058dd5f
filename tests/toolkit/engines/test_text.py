"""Sentences to ids and batches, and the sentences that cannot be asked."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models
from tokenizers.normalizers import BertNormalizer

from tiankong.toolkit.engines import text
from tiankong.toolkit.engines.text import (
    NoMaskError,
    TextEncoder,
    TextError,
    TooLongError,
    UnknownCandidateError,
)
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.builtin import vocabulary


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(vocabulary.tokenizer())


def test_encode_adds_cls_and_sep_and_keeps_the_mask_whole(encoder: TextEncoder) -> None:
    ids = encoder.encode("今天[MASK]。")
    assert [encoder.token(i) for i in ids] == ["[CLS]", "今", "天", "[MASK]", "。", "[SEP]"]


def test_no_mask_is_refused(encoder: TextEncoder) -> None:
    with pytest.raises(NoMaskError, match=r"no \[MASK\]"):
        encoder.encode("今天天气很好。")


@pytest.mark.parametrize("text", ["", "   ", "[mask]"])
def test_nothing_to_fill_is_refused(encoder: TextEncoder, text: str) -> None:
    with pytest.raises(NoMaskError):
        encoder.encode(text)


def test_512_tokens_are_taken_and_513_are_refused(encoder: TextEncoder) -> None:
    assert len(encoder.encode("天" * 509 + "[MASK]")) == 512
    with pytest.raises(TooLongError, match="513 tokens, more than 512"):
        encoder.encode("天" * 510 + "[MASK]")


def test_eight_masks_are_taken_and_nine_are_refused(encoder: TextEncoder) -> None:
    assert encoder.encode("[MASK]" * 8).count(103) == 8
    with pytest.raises(TooLongError, match="9"):
        encoder.encode("[MASK]" * 9)


def test_every_refusal_is_a_text_error() -> None:
    for kind in (NoMaskError, TooLongError, UnknownCandidateError):
        assert issubclass(kind, TextError)


def test_batch_pads_and_says_where_the_masks_stand(encoder: TextEncoder) -> None:
    texts = ["[MASK]天", "今[MASK]天[MASK]好", "天[MASK]"]
    batch = encoder.batch([encoder.encode(t) for t in texts])
    assert batch.input_ids.shape == (3, 7)
    assert batch.attention_mask.sum(axis=1).tolist() == [4, 7, 4]
    assert (batch.input_ids[batch.attention_mask == 0] == 0).all()
    assert not batch.token_type_ids.any()
    assert batch.rows.tolist() == [0, 1, 1, 2]
    assert batch.columns.tolist() == [1, 2, 4, 2]


@pytest.mark.parametrize(("multiple", "width"), [(1, 5), (4, 8), (8, 8), (16, 12)])
def test_batch_pads_to_a_multiple_as_far_as_there_are_positions(multiple: int, width: int) -> None:
    encoder = TextEncoder(vocabulary.tokenizer(), max_tokens=12)
    batch = encoder.batch([encoder.encode("天[MASK]好"), encoder.encode("[MASK]")], multiple)
    assert batch.input_ids.shape == (2, width)
    assert batch.attention_mask.sum(axis=1).tolist() == [5, 3]


def test_candidates_are_single_tokens(encoder: TextEncoder) -> None:
    assert encoder.token(encoder.candidate_id("上")) == "上"
    for candidate in ("上下", "", " ", "龘", "Hello, World", "上" * 30):
        with pytest.raises(UnknownCandidateError, match="not in the vocabulary"):
            encoder.candidate_id(candidate)


@pytest.mark.parametrize(
    ("candidate", "token"),
    [("\uf9d1", "六"), ("A", "a"), (" 上", "上"), ("é", "e"), ("##a", "##a"), ("[UNK]", "[UNK]")],
)
def test_a_candidate_is_read_as_a_text_is(encoder: TextEncoder, candidate: str, token: str) -> None:
    assert encoder.token(encoder.candidate_id(candidate)) == token


def test_an_added_word_is_a_candidate() -> None:
    tokenizer = vocabulary.tokenizer()
    tokenizer.add_tokens([AddedToken("新冠肺炎", normalized=True)])
    encoder = TextEncoder(tokenizer)
    assert encoder.token(encoder.candidate_id("新冠肺炎")) == "新冠肺炎"


def test_an_unknown_candidate_is_named_by_its_code_points() -> None:
    tokenizer = vocabulary.tokenizer()
    tokenizer.normalizer = BertNormalizer(strip_accents=False)
    with pytest.raises(UnknownCandidateError, match=r"'\uf9d1' \(U\+F9D1\) is not in the voc"):
        TextEncoder(tokenizer).candidate_id("\uf9d1")


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(text).attempted == 2
    assert doctest.testmod(text).failed == 0


def test_an_id_past_the_end_still_reads(encoder: TextEncoder) -> None:
    assert encoder.token(30_000) == "[id 30000]"


def test_a_tokenizers_own_padding_and_truncation_are_off() -> None:
    tokenizer = vocabulary.tokenizer()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=16)
    assert len(TextEncoder(tokenizer).encode("天" * 20 + "[MASK]")) == 23


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(UnusableInputError, match=r"no \[MASK\]"):
        TextEncoder(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))


def test_a_tokenizer_that_stops_at_what_it_does_not_know_is_refused(tmp_path: Path) -> None:
    lacking = Tokenizer(models.WordPiece({"[MASK]": 0, "[PAD]": 1, "天": 2}, unk_token="[UNK]"))
    lacking.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnusableInputError, match=r"tokenizer\.json: the tokenizer has no \[UNK\]"):
        TextEncoder.from_folder(tmp_path)


def test_an_added_word_reads_as_it_was_added() -> None:
    tokenizer = vocabulary.tokenizer()
    tokenizer.add_tokens([AddedToken("新冠肺炎", normalized=True)])
    encoder = TextEncoder(tokenizer)
    tokens = [encoder.token(i) for i in encoder.encode("新冠肺炎[MASK]")]
    assert tokens == ["[CLS]", "新冠肺炎", "[MASK]", "[SEP]"]


@pytest.mark.parametrize("content", [None, "", "{}", "not json"])
def test_an_unreadable_tokenizer_file_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UnusableInputError, match=r"tokenizer\.json"):
        TextEncoder.from_folder(tmp_path)


def test_a_saved_tokenizer_reads_the_same(encoder: TextEncoder, tmp_path: Path) -> None:
    vocabulary.tokenizer().save(str(tmp_path / "tokenizer.json"))
    text = "Hello，世界[MASK]！ＡＢ12"
    assert TextEncoder.from_folder(tmp_path).encode(text) == encoder.encode(text)
