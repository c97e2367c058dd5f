"""What transformers.AutoTokenizer would cut, we cut, or the model is refused with the reason."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFKC, BertNormalizer, Sequence

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models import hard_sentences
from tiankong.toolkit.models.auto_tokenizer import read_tokenizer
from tiankong.toolkit.models.builtin import vocabulary
from tiankong.toolkit.models.hard_sentences import around, difference
from tiankong.toolkit.models.tokenizer_files import write_tokenizer

LINES = [
    *(
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[unused1]",
        *"床前明月光疑是地上霜今天气真啊六",
    ),
    *("A", "a", "b", "##a", "##b", "hello", "Hello", "##s", "cafe", "café", "，", "。", "x", "1"),
]
TEXT = "".join(f"{line}\n" for line in LINES)
BERT = {"model_type": "bert"}
EXTRA = ["新冠肺炎", "[NAME]", "é́Ñ"]
PLAIN = {"lstrip": False, "rstrip": False, "single_word": False, "special": False}

Files = dict[str, Any]


def spread(folder: Path, files: Files) -> Path:
    """Write a tokenizer's files: bytes, texts, or what becomes JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if not isinstance(content, bytes):
            text = content if isinstance(content, str) else json.dumps(content)
            content = text.encode()
        (folder / name).write_bytes(content)
    return folder


def saved(**changes: Any) -> str:
    """Return a tokenizer.json over the lines; ``changes`` are top-level keys."""
    tokenizer = vocabulary.tokenizer()
    tokenizer.model = WordPiece({line: i for i, line in enumerate(LINES)}, unk_token="[UNK]")
    data = json.loads(tokenizer.to_str())
    for token in data["added_tokens"]:
        token["id"] = LINES.index(token["content"])
    for end in ("cls", "sep"):
        data["post_processor"][end][1] = LINES.index(f"[{end.upper()}]")
    return json.dumps({**data, **changes})


def json_of(normalizer: Any) -> Any:
    """Return a normalizer as tokenizer.json has it."""
    tokenizer = Tokenizer(WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    return json.loads(tokenizer.to_str())["normalizer"]


def theirs(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def refused(folder: Path, config: Files = BERT) -> str:
    with pytest.raises(UnusableInputError) as caught:
        read_tokenizer(folder, config)
    line = str(caught.value)
    assert "\n" not in line
    return line


ADDED = {token: len(LINES) + number for number, token in enumerate(EXTRA)}
DECODER = {
    str(index): {"content": token, "normalized": True, **PLAIN} for token, index in ADDED.items()
}
SPREAD: dict[str, Files] = {
    "vocab.txt alone": {},
    "cased": {"tokenizer_config.json": {"do_lower_case": False}},
    "accents kept": {"tokenizer_config.json": {"strip_accents": False}},
    "Chinese not parted": {"tokenizer_config.json": {"tokenize_chinese_chars": False}},
    "added_tokens.json": {"added_tokens.json": ADDED},
    "added words, cased": {
        "added_tokens.json": ADDED,
        "tokenizer_config.json": {"do_lower_case": False, "tokenizer_class": "BertTokenizer"},
    },
    "added_tokens_decoder": {"tokenizer_config.json": {"added_tokens_decoder": DECODER}},
    "one added word is special": {
        "added_tokens.json": ADDED,
        "special_tokens_map.json": {"additional_special_tokens": ["[NAME]"]},
    },
    "names of special tokens as objects": {
        "special_tokens_map.json": {
            "mask_token": {"content": "[MASK]", "normalized": False, **PLAIN} | {"lstrip": True},
            "unk_token": "[UNK]",
        }
    },
    "the fast class": {"tokenizer_config.json": {"tokenizer_class": "BertTokenizerFast"}},
    "ELECTRA's class": {"tokenizer_config.json": {"tokenizer_class": "ElectraTokenizer"}},
    "DistilBERT's class": {"tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}},
    "settings that AutoTokenizer passes over": {
        "tokenizer_config.json": {
            "do_basic_tokenize": False, "never_split": ["x1"], "word_tokenizer_type": "mecab",
        }
    },
    "a token twice": {"vocab.txt": TEXT + "床\n"},
    "a blank line inside": {"vocab.txt": TEXT.replace("hello\n", "\n")},
    "white space after a token": {"vocab.txt": TEXT.replace("hello\n", "hello \t\u3000\n")},
    "lines of Windows": {"vocab.txt": TEXT.replace("\n", "\r\n")},
    "no last line end": {"vocab.txt": TEXT.rstrip("\n")},
    "tokenizer.json": {"vocab.txt": TEXT, "tokenizer.json": saved()},
    "tokenizer.json, cased by its settings": {
        "tokenizer.json": saved(),
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False},
    },
    "tokenizer.json as it was saved": {
        "tokenizer.json": saved(normalizer=json_of(Sequence([NFKC(), BertNormalizer()]))),
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    },
    "tokenizer.json with other files": {
        "tokenizer.json": saved(),
        "added_tokens.json": ADDED,
        "special_tokens_map.json": {"mask_token": "[MASK]", "pad_token": "[PAD]"},
    },
    "settings that name other files": {
        "tokenizer_config.json": {
            "name_or_path": "someone/else", "tokenizer_file": None, "vocab_file": "/etc/hostname",
            "model_max_length": 512,
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("case", SPREAD)
def test_text_is_cut_as_auto_tokenizer_cuts_it(case: str, tmp_path: Path) -> None:
    files = {"vocab.txt": TEXT, "config.json": BERT, **SPREAD[case]}
    if "tokenizer.json" in files and "vocab.txt" not in SPREAD[case]:
        del files["vocab.txt"]
    folder = spread(tmp_path, files)
    ours, judge = read_tokenizer(folder, BERT), theirs(folder)
    assert ours.get_vocab() == judge.get_vocab()
    for text in around(EXTRA):
        assert ours.encode(text).ids == judge(text)["input_ids"], text
    write_tokenizer(tmp_path / "variant", ours, 512, ["input_ids"])
    served, other = (
        Tokenizer.from_file(str(tmp_path / "variant/tokenizer.json")),
        theirs(tmp_path / "variant"),
    )
    for text in around(EXTRA):
        assert served.encode(text).ids == other(text)["input_ids"] == ours.encode(text).ids, text


@pytest.mark.parametrize("name", ["added_tokens.json", "tokenizer_config.json"])
def test_added_words_are_one_token_each(name: str, tmp_path: Path) -> None:
    content = ADDED if name == "added_tokens.json" else {"added_tokens_decoder": DECODER}
    tokenizer = read_tokenizer(spread(tmp_path, {"vocab.txt": TEXT, name: content}), BERT)
    encoded = tokenizer.encode("床新冠肺炎，[NAME]", add_special_tokens=False).ids
    assert encoded == [LINES.index("床"), ADDED["新冠肺炎"], LINES.index("，"), ADDED["[NAME]"]]


@pytest.mark.parametrize(
    "files",
    [
        {"vocab.txt": b"\xef\xbb\xbf" + TEXT.encode()},
        {"vocab.txt": TEXT + "\n\r\n\n"},
        {"tokenizer_config.json": b"\xef\xbb\xbf" + b'{"do_lower_case": true}'},
        {"added_tokens.json": b"\xef\xbb\xbf{}", "special_tokens_map.json": b"\xef\xbb\xbf{}"},
        {"tokenizer.json": b"\xef\xbb\xbf" + saved().encode()},
    ],
    ids=["vocab.txt", "blank last lines", "tokenizer_config.json", "others", "tokenizer.json"],
)
def test_marks_and_blank_last_lines_change_nothing(files: Files, tmp_path: Path) -> None:
    plain = read_tokenizer(spread(tmp_path / "plain", {"vocab.txt": TEXT}), BERT)
    ours = read_tokenizer(spread(tmp_path / "ours", {"vocab.txt": TEXT, **files}), BERT)
    assert ours.get_vocab() == plain.get_vocab()
    assert [ours.encode(t).ids for t in around(())] == [plain.encode(t).ids for t in around(())]


REFUSED: dict[str, tuple[Files, str]] = {
    "Japanese": (
        {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"},
        "tokenizer_class BertJapaneseTokenizer is no tokenizer of the tokenizers library",
    ),
    "Japanese without MeCab": (
        {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic"},
        "tokenizer_class BertJapaneseTokenizer is no tokenizer of the tokenizers library",
    ),
    "RoBERTa": ({"tokenizer_class": "RobertaTokenizer"}, "RobertaTokenizer does not read vocab"),
    "ALBERT": ({"tokenizer_class": "AlbertTokenizer"}, "AlbertTokenizer does not read vocab.txt"),
    "a class without files": ({"tokenizer_class": "PreTrainedTokenizerFast"}, "cannot read the"),
    "unknown": ({"tokenizer_class": "MyTokenizer"}, "tokenizer_class MyTokenizer"),
    "no name": ({"tokenizer_class": ["BertTokenizer"]}, "tokenizer_class ['BertTokenizer']"),
    "code": ({"auto_map": {"AutoTokenizer": ["a.A", None]}}, "auto_map, code of its own"),
    "versions": ({"fast_tokenizer_files": ["tokenizer.4.0.json"]}, "fast_tokenizer_files"),
    "not true or false": ({"do_lower_case": "yes"}, "do_lower_case is 'yes', not true or false"),
    "special tokens as text": ({"split_special_tokens": True}, "for AutoTokenizer, but"),
    "another mask": ({"mask_token": "[unused1]"}, "its mask is '[unused1]'"),
    "no tokens": ({"added_tokens_decoder": {"40": "word"}}, "has to name ids with tokens"),
    "no ids": ({"added_tokens_decoder": {"x": {"content": "word"}}}, "has to name ids"),
    "a list": ({"added_tokens_decoder": ["word"]}, "has to name ids with tokens"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cut_alike_is_refused(case: str, tmp_path: Path) -> None:
    settings, words = REFUSED[case]
    folder = spread(tmp_path, {"vocab.txt": TEXT, "tokenizer_config.json": settings})
    assert words in refused(folder)


def test_an_id_that_auto_tokenizer_does_not_keep_is_refused(tmp_path: Path) -> None:
    folder = spread(tmp_path, {"vocab.txt": TEXT, "added_tokens.json": {"新冠肺炎": 99}})
    assert f"'新冠肺炎' has the id 99, AutoTokenizer gives it {len(LINES)}" in refused(folder)
    spread(tmp_path, {"added_tokens.json": {"新冠肺炎": "99"}})
    assert "'新冠肺炎' is '99', not an id" in refused(folder)


@pytest.mark.parametrize("config", [{"model_type": "albert"}, {"model_type": "roberta"}])
def test_a_wordpiece_vocabulary_that_no_class_is_named_for_is_berts(
    config: Files, tmp_path: Path
) -> None:
    remarks: list[str] = []
    folder = spread(tmp_path, {"vocab.txt": TEXT})
    ours = read_tokenizer(folder, config, remarks.append)
    (remark,) = remarks
    assert "read as BERT's" in remark
    assert config["model_type"] in remark
    assert ours.to_str() == read_tokenizer(folder, BERT).to_str()


def test_the_class_may_stand_in_config_json(tmp_path: Path) -> None:
    config = {"model_type": "albert", "tokenizer_class": "BertTokenizer"}
    remarks: list[str] = []
    folder = spread(tmp_path, {"vocab.txt": TEXT, "config.json": config})
    ours = read_tokenizer(folder, config, remarks.append)
    assert remarks == []
    assert ours.encode("床A[MASK]").ids == theirs(folder)("床A[MASK]")["input_ids"]


def test_without_a_configuration_files_speak_for_themselves(tmp_path: Path) -> None:
    cased = saved(normalizer=json_of(BertNormalizer(lowercase=False)))
    folder = spread(tmp_path, {"tokenizer.json": cased})
    assert "A" in read_tokenizer(folder).encode("A床").tokens
    spread(folder, {"tokenizer_config.json": {"do_lower_case": True}})
    assert "a" in read_tokenizer(folder).encode("A床").tokens


def test_a_tokenizer_json_that_auto_tokenizer_overrules_is_remarked_on(tmp_path: Path) -> None:
    """As plain transformers: a class that is named makes its own normalizer."""
    folded = saved(normalizer=json_of(Sequence([NFKC(), BertNormalizer()])))
    settings = {"tokenizer_class": "BertTokenizer", "never_split": ["x"]}
    folder = spread(tmp_path, {"tokenizer.json": folded, "tokenizer_config.json": settings})
    remarks: list[str] = []
    ours = read_tokenizer(folder, BERT, remarks.append)
    assert ["AutoTokenizer counts" in remarks[0], "never_split" in remarks[1]] == [True, True]
    spread(folder, {"config.json": BERT})
    assert ours.encode("Ａ床").ids == theirs(folder)("Ａ床")["input_ids"]


@pytest.mark.parametrize("token", ["[UNK]", "[MASK]", "[CLS]", "[SEP]", "[PAD]"])
def test_special_tokens_need_no_list(token: str, tmp_path: Path) -> None:
    data = json.loads(saved())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] != token]
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    folder = spread(tmp_path, {"tokenizer.json": data, "tokenizer_config.json": settings})
    ours = read_tokenizer(folder, BERT)
    assert ours.encode(f"床{token}", add_special_tokens=False).ids == [
        LINES.index("床"), LINES.index(token),
    ]  # fmt: skip


def test_without_a_token_for_the_unknown_it_is_refused(tmp_path: Path) -> None:
    data = json.loads(saved())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] != "[UNK]"]
    data["model"]["vocab"] = {t: i for t, i in data["model"]["vocab"].items() if t != "[UNK]"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    folder = spread(tmp_path, {"tokenizer.json": data, "tokenizer_config.json": settings})
    assert "has no [UNK], so rare characters stop it" in refused(folder)


@pytest.mark.parametrize("mark", [{}, {"__type": "AddedToken"}])
def test_a_special_token_may_be_an_object_of_the_settings(mark: Files, tmp_path: Path) -> None:
    mask = {"content": "[MASK]", "normalized": False, **PLAIN, "lstrip": True, **mark}
    folder = spread(tmp_path, {"vocab.txt": TEXT, "tokenizer_config.json": {"mask_token": mask}})
    ours = read_tokenizer(folder, BERT)
    assert ours.encode("床 [MASK]").offsets[2] == (1, 8)  # with the space before it
    mark["__type"] = "AddedToken"
    spread(folder, {"config.json": BERT, "tokenizer_config.json": {"mask_token": mask | mark}})
    judge = theirs(folder)
    assert [ours.encode(t).ids for t in around(())] == [judge(t)["input_ids"] for t in around(())]


def test_a_special_token_that_is_only_named_is_none(tmp_path: Path) -> None:
    """AutoTokenizer would give it the first id past the vocabulary."""
    data = json.loads(saved().replace("[MASK]", "[XXXX]"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "mask_token": "[MASK]"}
    folder = spread(tmp_path, {"tokenizer.json": data, "tokenizer_config.json": settings})
    assert "the tokenizer has no [MASK]" in refused(folder)


def test_a_difference_names_the_sentence_and_both_ids(tmp_path: Path) -> None:
    folder = spread(tmp_path, {"vocab.txt": TEXT, "config.json": BERT})
    ours = read_tokenizer(folder, BERT)
    assert difference(ours, theirs(folder), around(())) == ""
    ours.normalizer = BertNormalizer(lowercase=False)
    lower, upper, bed = (LINES.index(token) for token in "aA床")
    assert difference(ours, theirs(folder), ["A床"]) == (
        f"'A床' is 2 {lower} {bed} 3 for AutoTokenizer, but 2 {upper} {bed} 3 when read back"
    )


def test_an_error_differs_from_any_ids(tmp_path: Path) -> None:
    folder = spread(tmp_path, {"vocab.txt": TEXT, "config.json": BERT})
    lacking = Tokenizer(WordPiece({"a": 0}, unk_token="[UNK]"))
    assert "but an error when read back" in difference(lacking, theirs(folder), ["床"])
    assert "an error for AutoTokenizer" in difference(lacking, None, ["a"])
    assert difference(lacking, None, ["床"]) != ""


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(hard_sentences).attempted == 1
    assert doctest.testmod(hard_sentences).failed == 0
