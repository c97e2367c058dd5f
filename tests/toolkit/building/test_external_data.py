"""All places outside an ONNX file that it names are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from external_models import PLACES, Place, function_body, initializer, outside, saved
from onnx import TensorProto

from tiankong.toolkit.building.external_data import (
    PATHS,
    WireError,
    external_files,
    external_locations,
)
from tiankong.toolkit.building.integrity import require_sound
from tiankong.toolkit.building.onnx_file import read_onnx_file
from tiankong.toolkit.errors import UnusableInputError


@pytest.mark.parametrize("place", PLACES)
def test_every_place_a_tensor_can_be_in_is_read(place: Place, tmp_path: Path) -> None:
    path = saved(tmp_path, place(outside("sub/own.data")))
    data = tmp_path / "sub" / "own.data"
    data.parent.mkdir()
    data.write_bytes(bytes(16))
    assert external_files(path) == {"sub/own.data": data}
    assert read_onnx_file(path).files == {"model.onnx": path, "sub/own.data": data}
    require_sound(tmp_path, "model.onnx")
    require_sound(tmp_path, "model.onnx", listed=["model.onnx", "sub/own.data"])
    with pytest.raises(UnusableInputError, match="does not list"):
        require_sound(tmp_path, "model.onnx", listed=["model.onnx"])


def test_no_field_that_leads_to_a_tensor_is_left_out() -> None:
    """Compared with the schema of the onnx package: a new version may have a new place."""
    messages = list(onnx.ModelProto.DESCRIPTOR.file.message_types_by_name.values())
    holding, before = {"TensorProto"}, 0
    while len(holding) > before:  # messages are nested: repeat until none is new
        before = len(holding)
        holding |= {m.name for m in messages if _leading(m, holding)}
    paths = {
        message.name.removesuffix("Proto"): _leading(message, holding)
        for message in messages
        if message.name in holding
    }
    (data,) = [f for f in TensorProto.DESCRIPTOR.fields if f.name == "external_data"]
    assert paths | {"Tensor": {data.number: "Entry"}} == PATHS
    assert used(PLACES) == {(kind, number) for kind, own in paths.items() for number in own}


def _leading(message: Any, holding: set[str]) -> dict[int, str]:
    """The fields of a message's type that lead to a tensor."""
    return {
        field.number: field.message_type.name.removesuffix("Proto")
        for field in message.fields
        if field.message_type is not None and field.message_type.name in holding
    }


def used(places: list[Place]) -> set[tuple[str, int]]:
    """The fields on the path to the tensor, in all models of this test together."""
    fields: set[tuple[str, int]] = set()
    for place in places:
        _note_path(place(outside("own.data")), fields)
    return fields


def _note_path(message: Any, fields: set[tuple[str, int]]) -> bool:
    if isinstance(message, TensorProto):
        return bool(message.external_data)
    leads = False
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = [value] if hasattr(value, "ListFields") else list(value)
        if sum(_note_path(each, fields) for each in inner):  # of all of them, not only the first
            fields.add((message.DESCRIPTOR.name.removesuffix("Proto"), field.number))
            leads = True
    return leads


# --- bytes that are no model, or not the model they seem ----------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04\x95", b"PK\x03\x04zip", b"....ORTM", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b",
     b"\x3a\x02", b"\x08\x07", b"\xff" * 20, b"\x3a\x05\x2a\x03\x42\x70\x00"],
)  # fmt: skip
def test_what_is_no_onnx_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(WireError):
        external_locations(path)
    with pytest.raises(UnusableInputError, match="is no ONNX file"):
        require_sound(tmp_path, "model.onnx")


def test_every_cut_of_a_model_is_read_or_refused(tmp_path: Path) -> None:
    whole = function_body(outside("own.data")).SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            external_locations(path)
        except WireError:
            continue
        onnx.ModelProto.FromString(whole[:size])  # what we read, protobuf reads


def wrapped(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def test_messages_nested_without_end(tmp_path: Path) -> None:
    content = b""
    for _ in range(200):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # a graph in an attribute in a node
            content = wrapped(tag, content)
    path = tmp_path / "model.onnx"
    path.write_bytes(wrapped(b"\x3a", content))
    with pytest.raises(WireError, match="nested too deep"):
        external_locations(path)


def test_a_tag_that_readers_cut_differently_is_refused(tmp_path: Path) -> None:
    """ONNX Runtime drops the bits above 32 and finds an initializer; we must not skip it."""
    model = initializer(outside("../secret"))
    tensor = model.graph.initializer.pop()
    tag = varint((5 << 3 | 2) + (1 << 32))
    graph = model.graph.SerializeToString() + wrapped(tag, tensor.SerializeToString())
    model.ClearField("graph")
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString() + wrapped(b"\x3a", graph))
    with pytest.raises(WireError, match="begins no field"):
        external_locations(path)
