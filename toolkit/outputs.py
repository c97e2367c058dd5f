"""An ONNX file's outputs, taken off: with the library of its format alone, without onnx.

Serving must not need onnx, and a large output that nobody reads costs time and memory all the
same: ONNX Runtime computes every output of a graph, whichever it is asked for.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# What is needed of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; protobuf keeps fields
# that it does not know.
MESSAGES = {
    "Model": {"graph": (7, "Graph", False)},
    "Graph": {"node": (1, "Node", True), "output": (12, "Value", True)},
    "Node": {"input": (1, "", True), "output": (2, "", True), "attribute": (5, "Attribute", True)},
    "Attribute": {"g": (6, "Graph", False), "graphs": (11, "Graph", True)},
    "Value": {"name": (1, "", False)},
}
PACKAGE = "tiankong"


def without_output(model: bytes, name: str) -> bytes:
    """Return an ONNX file's bytes without an output, and without the nodes only it needs.

    A file that has nodes with graphs inside them (If, Loop) is left as it is: what those read is
    not looked at.
    """
    parsed = _message("Model")()
    parsed.ParseFromString(model)
    graph = parsed.graph
    if any(part.HasField("g") or part.graphs for node in graph.node for part in node.attribute):
        return model
    _keep(graph.output, [output for output in graph.output if output.name != name])
    while True:
        read = {output.name for output in graph.output}
        read |= {entry for node in graph.node for entry in node.input}
        needed = [node for node in graph.node if read & set(node.output)]
        if len(needed) == len(graph.node):
            return bytes(parsed.SerializeToString())
        _keep(graph.node, needed)


def _keep(field: Any, kept: list[Any]) -> None:
    copies = [type(entry).FromString(entry.SerializeToString()) for entry in kept]
    del field[:]
    field.extend(copies)


@cache
def _message(name: str) -> Any:
    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="onnx.proto", package=PACKAGE, syntax="proto2")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for field, (number, of, many) in fields.items():
            described.field.add(
                name=field,
                number=number,
                label=field_type.LABEL_REPEATED if many else field_type.LABEL_OPTIONAL,
                type=field_type.TYPE_MESSAGE if of else field_type.TYPE_STRING,
                type_name=f".{PACKAGE}.{of}" if of else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
