"""What ships, and every way a gold file can be wrong."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tokenizers.normalizers import BertNormalizer

from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import BUILTIN, HELDOUT, GoldSet, read_gold
from tiankong.toolkit.models.builtin import corpus, vocabulary
from tiankong.toolkit.models.tokens import MASK

GOOD = {"id": "x1", "category": "poem", "text": "床前明月光,疑是地[MASK]霜。", "answer": "上"}


def line(**changes: Any) -> str:
    merged = {**GOOD, **changes}
    return json.dumps({k: v for k, v in merged.items() if v is not None}, ensure_ascii=False)


def read(tmp_path: Path, content: str | bytes) -> GoldSet:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_gold(path)


def filled(text: str, answer: str) -> str:
    return text.replace(MASK, answer)


# --- what ships --------------------------------------------------------------------------------


def test_the_builtin_gold_set_has_what_it_says() -> None:
    gold = read_gold()
    counts = Counter(item.category for item in gold.items)
    assert len(gold.items) == 365
    assert counts["poem"] >= 100
    assert counts["idiom"] >= 150
    assert counts["everyday"] >= 50
    assert sum(counts.values()) == counts["poem"] + counts["idiom"] + counts["everyday"]
    assert gold.name == "gold.jsonl"
    assert gold.digest == hashlib.sha256(BUILTIN.read_bytes()).hexdigest()


@pytest.mark.parametrize("path", [BUILTIN, HELDOUT])
def test_every_answer_is_a_token_and_no_sentence_comes_twice(path: Path) -> None:
    tokens = set(vocabulary.tokens())
    gold = read_gold(path)
    assert {item.answer for item in gold.items} <= tokens
    assert len({item.text for item in gold.items}) == len(gold.items)
    tokenizer = vocabulary.tokenizer()
    unknown = [i.id for i in gold.items if "[UNK]" in tokenizer.encode(i.text).tokens]
    assert unknown == []


def test_the_articles_sentence_is_the_first() -> None:
    item = read_gold().items[0]
    assert (item.text, item.answer) == ("床前明月光,疑是地[MASK]霜。", "上")


def test_the_carriers_of_gold_idioms_were_not_in_training() -> None:
    lists = ("carriers.txt", "everyday.txt")
    seen = "\n".join((corpus.OWN / name).read_text(encoding="utf-8") for name in lists)
    for item in read_gold().items:
        if item.category == "idiom":
            assert filled(item.text, item.answer) not in seen, item.id


def test_heldout_is_large_enough_and_never_seen_in_training() -> None:
    heldout = read_gold(HELDOUT)
    assert len(heldout.items) >= 100
    lists = ("carriers.txt", "everyday.txt", "famous.txt")
    seen = "\n".join((corpus.OWN / name).read_text(encoding="utf-8") for name in lists)
    gold = {filled(item.text, item.answer) for item in read_gold().items}
    frames = [t.split("{}") for t in corpus.read_lines(corpus.OWN / "templates.txt")]
    for item in heldout.items:
        sentence = filled(item.text, item.answer)
        assert sentence not in seen, item.id
        assert sentence not in gold, item.id
        for before, after in frames:
            idiom = len(sentence) - len(before) - len(after)
            spliced = sentence.startswith(before) and sentence.endswith(after) and idiom == 4
            assert not spliced, (item.id, before, after)


# --- the reader --------------------------------------------------------------------------------


def test_a_source_is_kept_and_may_be_missing(tmp_path: Path) -> None:
    gold = read(tmp_path, line(source="李白") + "\n" + line(id="x2") + "\n")
    assert [item.source for item in gold.items] == ["李白", ""]
    assert gold.texts() == [GOOD["text"]] * 2


@pytest.mark.parametrize(
    "content",
    [
        line(),
        line() + "\n\n  \n",
        line() + "\r\n",
        b"\xef\xbb\xbf" + line().encode(),
        line(category="ours alone"),
        line(note="extra", level=3, tags=["a"]),
    ],
    ids=["no newline", "blank lines", "CRLF", "BOM", "any category", "extra fields"],
)
def test_fine_files(tmp_path: Path, content: str | bytes) -> None:
    (item,) = read(tmp_path, content).items
    assert (item.id, item.answer, item.text) == ("x1", "上", GOOD["text"])


def test_a_line_separator_inside_a_text_does_not_split_it(tmp_path: Path) -> None:
    assert len(read(tmp_path, line(text="天\u2028[MASK]")).items) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("NaN", "not a JSON object"),
        (line(id=None), "'id' is missing"),
        (line(category=None), "'category' is missing"),
        (line(text=None), "'text' is missing"),
        (line(answer=None), "'answer' is missing"),
        (line(answer=3), "'answer' is missing or is not a non-empty string"),
        (line(id="  "), "'id' is missing or is not a non-empty string"),
        (line(text="没有空"), r"0 \[MASK\], not one"),
        (line(text="[MASK][MASK]"), r"2 \[MASK\], not one"),
        (line(answer=" 上"), "spaces around it"),
        (line(source=3), "'source' is not a string"),
        (r'{"id":"s\udc80","category":"c","text":"[MASK]","answer":"上"}', "'id' has half a surr"),
        (line().replace("霜", r"\ud83d"), r"'text' has half a surrogate, \\ud83d"),
        (line().replace("poem", r"\uDFFF"), r"'category' has half a surrogate, \\udfff"),
        (line(answer="上").replace('"上"', r'"\ud800"'), "'answer' has half a surrogate"),
        (line(source="x").replace('"x"', r'"\ud800"'), "'source' has half a surrogate"),
        (line(text="上\0[MASK]"), "'text' has a null character"),
        ("[" * 100_000, "not JSON"),
        (line(), "id 'x1' is taken by line 1"),
    ],
)
def test_bad_lines_are_named_with_their_reason(tmp_path: Path, bad: str, reason: str) -> None:
    with pytest.raises(UnusableInputError, match=rf"mine\.jsonl: line 3: .*{reason}"):
        read(tmp_path, f"{line()}\n\n{bad}\n")


def test_an_answer_outside_the_vocabulary(tmp_path: Path) -> None:
    gold = read(tmp_path, line(answer="龘"))
    with pytest.raises(UnusableInputError, match="answer '龘' of item x1 is not a token"):
        gold.as_read(TextEncoder(vocabulary.tokenizer()))


def test_an_answer_is_what_the_tokenizer_reads(tmp_path: Path) -> None:
    lines = [line(answer=answer, id=answer) for answer in ("\uf9d1", "A", "é", "上")]
    gold = read(tmp_path, "\n".join(lines)).as_read(TextEncoder(vocabulary.tokenizer()))
    assert [item.answer for item in gold.items] == ["六", "a", "e", "上"]


def test_a_compatibility_character_that_is_not_folded_is_named(tmp_path: Path) -> None:
    tokenizer = vocabulary.tokenizer()
    tokenizer.normalizer = BertNormalizer(strip_accents=False)
    gold = read(tmp_path, line(answer="\uf9d1"))
    with pytest.raises(UnusableInputError, match=r"\(U\+F9D1\) of item x1"):
        gold.as_read(TextEncoder(tokenizer))


def test_many_bad_lines_are_summed_up(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError) as caught:
        read(tmp_path, "{\n" * 8)
    assert str(caught.value).count("line ") - str(caught.value).count("line 1 column") == 5
    assert "and 3 more" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_no_items(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnusableInputError, match="holds no items"):
        read(tmp_path, content)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="cannot be read"):
        read(tmp_path, line().encode("gb18030"))
    with pytest.raises(UnusableInputError, match="does not exist"):
        read_gold(tmp_path / "none.jsonl")
    with pytest.raises(UnusableInputError, match="cannot be read"):
        read_gold(tmp_path)
