"""Take an output off an ONNX file, with protobuf alone: serving must not need onnx.

ONNX Runtime computes every output of a graph, whichever it is asked for.  So a large output that
nobody reads costs time and memory all the same.
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
        "f": (2, "float", False),
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
FLOATING, INT = 1, 2  # AttributeProto.AttributeType
FLOAT, INT64 = 1, 7  # TensorProto.DataType
Field = descriptor_pb2.FieldDescriptorProto
KINDS = {
    "string": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES, "float": Field.TYPE_FLOAT,
    "int32": Field.TYPE_INT32, "int64": Field.TYPE_INT64,
}  # fmt: skip


def without_output(model: bytes, name: str) -> bytes:
    """Return an ONNX file's bytes without an output and without the nodes that only it needs.

    A file that has nodes with graphs inside them (If, Loop) is returned unchanged: this function
    does not follow what inner graphs read.
    """
    parsed = parse(model)
    graph = parsed.graph
    if any(part.HasField("g") or part.graphs for node in graph.node for part in node.attribute):
        return model
    _keep_only(graph.output, [output for output in graph.output if output.name != name])
    while True:
        read = {output.name for output in graph.output}
        read |= {entry for node in graph.node for entry in node.input}
        needed = [node for node in graph.node if read & set(node.output)]
        if len(needed) == len(graph.node):
            return bytes(parsed.SerializeToString())
        _keep_only(graph.node, needed)


def _keep_only(field: Any, entries: list[Any]) -> None:
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del field[:]
    field.extend(copies)


def parse(model: bytes) -> Any:
    """Return the message that an ONNX file's bytes hold."""
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
