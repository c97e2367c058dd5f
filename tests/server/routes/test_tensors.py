from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from tiankong.server.http.problems import ProblemError
from tiankong.server.routes.tensors import Tensor, answer_body, read_strings, split_body


def text(**fields: Any) -> dict[str, Any]:
    return {"name": "text", "datatype": "BYTES", "shape": [2], "data": ["今", "天"]} | fields


def packed(*values: str) -> bytes:
    return b"".join(struct.pack("<I", len(v.encode())) + v.encode() for v in values)


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2], ["今", "天"]),
        ([2, 1], [["今"], ["天"]]),
        ([1, 2], ["今", "天"]),
        ([1, 2], [["今", "天"]]),
    ],
)
def test_strings_flat_or_nested(shape: list[int], data: list[Any]) -> None:
    assert read_strings(text(shape=shape, data=data), b"") == ["今", "天"]


def test_strings_behind_the_json() -> None:
    binary = packed("今", "", "天气")
    tensor = text(shape=[3], parameters={"binary_data_size": len(binary)})
    del tensor["data"]
    assert read_strings(tensor, binary) == ["今", "", "天气"]


DEEP: Any = ["今", "天"]
for _ in range(900):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"datatype": "FP32"}, "not BYTES"),
        ({"datatype": None}, "not BYTES"),
        ({"shape": [3]}, "the shape says 3, the data has 2"),
        ({"shape": []}, "shape"),
        ({"shape": [True, 2]}, "shape"),
        ({"shape": [-2, -1]}, "shape"),
        ({"shape": 2}, "shape"),
        ({"shape": [1] * 8 + [2]}, "shape"),
        ({"shape": [10**4000, 10**4000]}, "shape"),
        ({"data": "今天"}, "data is not a list"),
        ({"data": None}, "data is not a list"),
        ({"data": ["今", 1]}, "data is not a list"),
        ({"data": DEEP}, "data is not a list"),
        ({"parameters": []}, "parameters"),
        ({"parameters": {"binary_data_size": 4}}, "data is there"),
        ({"parameters": {"binary_data_size": True}}, "not a number"),
    ],
)
def test_what_does_not_belong_together(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ProblemError, match=complaint) as caught:
        read_strings(text(**fields), b"")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("size", "binary", "complaint"),
    [
        (5, packed("今"), "binary_data_size is 5, but 7 bytes"),
        (7, packed("今")[:-1] + b"\xff", "not UTF-8"),
        (6, packed("今")[:-1], "end within"),
        (2, b"\1\0", "end within"),
        (4, b"\xff\xff\xff\xff", "end within"),
        (0, b"", "the shape says 1, the data has 0"),
    ],
)
def test_bytes_that_are_no_strings(size: int, binary: bytes, complaint: str) -> None:
    tensor = text(shape=[1], parameters={"binary_data_size": size})
    del tensor["data"]
    with pytest.raises(ProblemError, match=complaint):
        read_strings(tensor, binary)


def test_bytes_nobody_asked_for() -> None:
    with pytest.raises(ProblemError, match="belong to no tensor"):
        read_strings(text(), b"more")


def test_a_body_is_split_where_its_header_says() -> None:
    assert split_body(b"{}abc", None) == (b"{}abc", b"")
    assert split_body(b"{}abc", "2") == (b"{}", b"abc")


@pytest.mark.parametrize("length", ["6", "-1", "x", "", "²", "9" * 5000])
def test_a_header_that_lies(length: str) -> None:
    with pytest.raises(ProblemError, match="Inference-Header-Content-Length"):
        split_body(b"{}abc", length)


def test_outputs_as_json_and_as_bytes() -> None:
    token = Tensor("token", "BYTES", (1, 2), ["上", "下"])
    score = Tensor("score", "FP32", (1, 2), [0.5, 0.25])
    row = Tensor("sentence", "INT64", (1,), [7])
    body, length = answer_body({"id": "x"}, [(token, False), (score, False)])
    assert length is None
    assert json.loads(body) == {
        "id": "x",
        "outputs": [
            {"name": "token", "datatype": "BYTES", "shape": [1, 2], "data": ["上", "下"]},
            {"name": "score", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.25]},
        ],
    }
    body, length = answer_body({}, [(token, True), (score, True), (row, True)])
    assert length
    sizes = [
        output["parameters"]["binary_data_size"] for output in json.loads(body[:length])["outputs"]
    ]
    assert sizes == [14, 8, 8]
    assert body[length:] == packed("上", "下") + struct.pack("<ffq", 0.5, 0.25, 7)
