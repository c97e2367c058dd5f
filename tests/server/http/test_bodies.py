from __future__ import annotations

import json

import pytest

from tiankong.server.http.bodies import Question, parse_batch, parse_question
from tiankong.server.http.problems import ProblemError

BAD = {
    "empty": b"",
    "not JSON": b"text=hello",
    "half of it": b'{"text": "a',
    "rest after it": b'{"text": "a"} x',
    "UTF-16": '{"text": "a"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"text": "a"}',
    "not UTF-8": b'{"text": "\xff"}',
    "raw null byte": b'{"text": "a\x00"}',
    "raw newline": b'{"text": "a\n"}',
    "NaN": b'{"text": "a", "top_k": NaN}',
    "Infinity": b'{"text": "a", "x": -Infinity}',
    "deep lists": b"[" * 60000,
    "deep objects": b'{"a":' * 12000,
    "huge integer": b'{"text": "a", "top_k": ' + b"9" * 60000 + b"}",
    "duplicate key": b'{"text": "a", "text": "b"}',
    "duplicate key deep down": b'{"text": "a", "x": [{"\\ud800": 1, "\\ud800": 2}]}',
    "null": b"null",
    "list": b'["a"]',
    "string": b'"a"',
    "number": b"1e999",
    "no text": b"{}",
    "text null": b'{"text": null}',
    "text number": b'{"text": 1}',
    "text list": b'{"text": ["a"]}',
    "lone surrogate": b'{"text": "\\ud800[MASK]"}',
    "swapped surrogates": b'{"text": "\\udc00\\ud800[MASK]"}',
    "escaped null": b'{"text": "a\\u0000[MASK]"}',
    "top_k 0": b'{"text": "a", "top_k": 0}',
    "top_k 51": b'{"text": "a", "top_k": 51}',
    "top_k negative": b'{"text": "a", "top_k": -1}',
    "top_k true": b'{"text": "a", "top_k": true}',
    "top_k float": b'{"text": "a", "top_k": 5.0}',
    "top_k infinite": b'{"text": "a", "top_k": 1e999}',
    "top_k string": b'{"text": "a", "top_k": "5"}',
    "top_k null": b'{"text": "a", "top_k": null}',
    "candidates null": b'{"text": "a", "candidates": null}',
    "candidates string": b'{"text": "a", "candidates": "ab"}',
    "candidates empty": b'{"text": "a", "candidates": []}',
    "candidates object": b'{"text": "a", "candidates": {"a": 1}}',
    "candidate number": b'{"text": "a", "candidates": ["a", 1]}',
    "candidate surrogate": b'{"text": "a", "candidates": ["\\ud800"]}',
    "candidate null character": b'{"text": "a", "candidates": ["\\u0000"]}',
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_a_400(body: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_question(body)
    assert caught.value.status == 400
    assert caught.value.detail


@pytest.mark.parametrize(
    "texts", [b"", b'"texts": null', b'"texts": "a"', b'"texts": []', b'"texts": ["a", null]']
)
def test_a_bad_batch_is_a_400(texts: bytes) -> None:
    with pytest.raises(ProblemError) as caught:
        parse_batch(b"{" + texts + b"}", 9)
    assert caught.value.status == 400


def test_the_fault_is_named() -> None:
    with pytest.raises(ProblemError, match=r"texts\[1\] is not a string"):
        parse_batch(b'{"texts": ["a", 2]}', 9)
    with pytest.raises(ProblemError, match="'text' appears twice"):
        parse_question(BAD["duplicate key"])


def test_a_batch_of_too_many_is_a_422() -> None:
    with pytest.raises(ProblemError) as caught:
        parse_batch(b'{"texts": ["a", "b", "c"]}', 2)
    assert caught.value.status == 422


def test_defaults_and_options() -> None:
    assert parse_question(b'{"text": "a"}') == Question(("a",), 5, None)
    body = json.dumps({"text": "霜😀", "top_k": 50, "candidates": ["上", "上"]}).encode()
    assert parse_question(body) == Question(("霜😀",), 50, ("上", "上"))
    assert parse_batch(b'{"texts": ["a", "b"], "top_k": 1}', 2) == Question(("a", "b"), 1, None)


@pytest.mark.parametrize("key", ["topk", "texts", "Text", "", "k" * 50_000, "\ud800"])
def test_a_field_that_is_not_known_is_named(key: str) -> None:
    body = json.dumps({"text": "a", "top_k": 1, key: 1}).encode()
    with pytest.raises(ProblemError) as caught:
        parse_question(body)
    assert caught.value.status == 400
    assert f"unknown field {key[:80]!r}; known: text, top_k, candidates" in caught.value.detail
    with pytest.raises(ProblemError, match="known: texts, top_k, candidates"):
        parse_batch(b'{"texts": ["a"], "text": "a"}', 2)
