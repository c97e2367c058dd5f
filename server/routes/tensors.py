"""Tensors of the Open Inference Protocol: as JSON, or as bytes after the JSON.

The protocol: https://github.com/kserve/open-inference-protocol (specification/protocol,
inference_rest.md); bytes after the JSON: Triton's extension "binary_tensor_data"
(https://github.com/triton-inference-server/server, docs/protocol/extension_binary_data.md).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from ..http.bodies import require_known
from ..http.problems import ProblemError

JSON_LENGTH = "Inference-Header-Content-Length"
BINARY_SIZE = "binary_data_size"
CONTENT_TYPE = "content_type"  # a convention of MLServer, which KServe's and Seldon's clients send
CONTENT_TYPES = ("str", "np", "pd")  # the data are as they stand
MAX_DIMENSIONS = 8
LARGEST = 2**31 - 1  # size of a dimension: no body has that many strings
NUMBER = re.compile(r"[0-9]{1,18}")

Datatype = Literal["BYTES", "FP32", "INT64"]


@dataclass(frozen=True)
class Tensor:
    """A tensor with its values flattened, row by row; the values of BYTES are Python strings."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    values: Sequence[Any]


def split_body(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    """Return the JSON and the bytes after it; raise a 400 problem for an invalid length."""
    if json_length is None:
        return body, b""
    length = int(json_length) if NUMBER.fullmatch(json_length) else len(body) + 1
    if length > len(body):
        raise ProblemError(400, f"{JSON_LENGTH} is not a number of bytes within the body")
    return body[:length], body[length:]


def read_strings(tensor: dict[str, Any], binary: bytes) -> list[str]:
    """Return the strings of a request's BYTES tensor, flattened.

    ``binary`` is the bytes after the JSON.  Raises a 400 problem if datatype, shape and data do not
    match, or the bytes are not UTF-8.
    """
    name = tensor["name"]
    require_known(tensor, ("name", "datatype", "shape", "data", "parameters"), f"{name}: ")
    if tensor.get("datatype") != "BYTES":
        raise ProblemError(400, f"{name}: datatype is not BYTES")
    count = _count(tensor)
    size = _binary_size(tensor)
    if size is None:
        if binary:
            raise ProblemError(400, "after the JSON there are bytes that belong to no tensor")
        values = list(_flat(tensor.get("data"), name))
    else:
        if size != len(binary):
            raise ProblemError(
                400, f"{name}: {BINARY_SIZE} is {size}, but {len(binary)} bytes are there"
            )
        values = list(_unpack(binary, name))
    if len(values) != count:
        raise ProblemError(400, f"{name}: the shape says {count}, the data has {len(values)}")
    return values


def answer_body(
    document: dict[str, Any], tensors: Sequence[tuple[Tensor, bool]]
) -> tuple[bytes, int | None]:
    """Return a response's body, and the length of its JSON if bytes follow (else None).

    ``tensors`` are pairs of a tensor and whether it is sent as bytes.
    """
    outputs: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for tensor, as_bytes in tensors:
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if as_bytes:
            blobs.append(_pack(tensor))
            output["parameters"] = {BINARY_SIZE: len(blobs[-1])}
        else:
            output["data"] = list(tensor.values)
        outputs.append(output)
    text = json.dumps(document | {"outputs": outputs}, ensure_ascii=False).encode()
    return b"".join([text, *blobs]), len(text) if blobs else None


def _count(tensor: dict[str, Any]) -> int:
    shape = tensor.get("shape")
    # type(), not isinstance(): isinstance(True, int) is true.
    valid = isinstance(shape, list) and all(
        type(size) is int and 0 <= size <= LARGEST for size in shape
    )
    if not valid or not 1 <= len(shape or []) <= MAX_DIMENSIONS:
        raise ProblemError(400, f"{tensor['name']}: shape is not a list of whole numbers from 0 on")
    return prod(shape or [])


def _binary_size(tensor: dict[str, Any]) -> int | None:
    parameters = tensor.get("parameters")
    if parameters is None:  # some clients send null for a missing field
        return None
    if not isinstance(parameters, dict):
        raise ProblemError(400, f"{tensor['name']}: parameters is not an object")
    require_known(parameters, (BINARY_SIZE, CONTENT_TYPE), f"{tensor['name']}: parameters: ")
    require_plain(parameters)
    size = parameters.get(BINARY_SIZE)
    if size is None:
        return None
    if type(size) is not int or size < 0 or "data" in tensor:
        raise ProblemError(
            400, f"{tensor['name']}: {BINARY_SIZE} is not a number, or data is there"
        )
    return size


def require_plain(parameters: dict[str, Any]) -> None:
    """Raise a 400 problem for a content type that would have the data decoded further."""
    kind = parameters.get(CONTENT_TYPE)
    if kind is not None and kind not in CONTENT_TYPES:
        raise ProblemError(400, f"{CONTENT_TYPE} is not one of {', '.join(CONTENT_TYPES)}")


def _flat(data: object, name: str, depth: int = MAX_DIMENSIONS) -> Iterator[str]:
    """Yield the strings of a list, flat or nested: the protocol allows both."""
    if not isinstance(data, list) or not depth:
        raise ProblemError(400, f"{name}: data is not a list of strings")
    for item in data:
        if isinstance(item, str):
            yield item
        else:
            yield from _flat(item, name, depth - 1)


def _unpack(binary: bytes, name: str) -> Iterator[str]:
    """Yield the strings in the bytes, where each follows its length (4 bytes, little-endian)."""
    start = 0
    while start < len(binary):
        end = start + 4 + int.from_bytes(binary[start : start + 4], "little")
        if end > len(binary) or start + 4 > len(binary):
            raise ProblemError(400, f"{name}: the bytes end within a string")
        try:
            yield binary[start + 4 : end].decode()
        except UnicodeDecodeError:
            raise ProblemError(400, f"{name}: the bytes are not UTF-8") from None
        start = end


def _pack(tensor: Tensor) -> bytes:
    if tensor.datatype == "BYTES":
        encoded = [value.encode() for value in tensor.values]
        return b"".join(len(value).to_bytes(4, "little") + value for value in encoded)
    kind = "f" if tensor.datatype == "FP32" else "q"
    return struct.pack(f"<{len(tensor.values)}{kind}", *tensor.values)
