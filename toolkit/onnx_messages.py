"""The messages of an ONNX file, as far as serving changes them: with protobuf alone.

Serving must not need the onnx library.  Declared is what is needed of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; protobuf keeps fields that it does not know.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

MESSAGES = {
    "Model": {"graph": (7, "Graph", False)},
    "Graph": {
        "node": (1, "Node", True),
        "initializer": (5, "Tensor", True),
        "output": (12, "Value", True),
    },
    "Node": {
        "input": (1, "string", True),
        "output": (2, "string", True),
        "name": (3, "string", False),
        "op_type": (4, "string", False),
        "attribute": (5, "Attribute", True),
        "domain": (7, "string", False),
    },
    "Attribute": {
        "name": (1, "string", False),
        "i": (3, "int64", False),
        "g": (6, "Graph", False),
        "graphs": (11, "Graph", True),
        "type": (20, "int32", False),
    },
    "Tensor": {
        "dims": (1, "int64", True),
        "data_type": (2, "int32", False),
        "name": (8, "string", False),
        "raw_data": (9, "bytes", False),
    },
    "Value": {"name": (1, "string", False)},
}
PACKAGE = "tiankong"
INT = 2  # AttributeProto.AttributeType
INT64 = 7  # TensorProto.DataType
Field = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "string": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES,
    "int32": Field.TYPE_INT32, "int64": Field.TYPE_INT64,
}  # fmt: skip


def parse(model: bytes) -> Any:
    """Return an ONNX file's bytes as a message."""
    return message("Model").FromString(model)


def message(name: str) -> Any:
    """Return the class of a message of ``MESSAGES``."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package=PACKAGE, syntax="proto2")
    for title, fields in MESSAGES.items():
        described = file.message_type.add(name=title)
        for field, (number, kind, many) in fields.items():
            described.field.add(
                name=field,
                number=number,
                label=Field.LABEL_REPEATED if many else Field.LABEL_OPTIONAL,
                type=KINDS.get(kind, Field.TYPE_MESSAGE),
                type_name=None if kind in KINDS else f".{PACKAGE}.{kind}",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
