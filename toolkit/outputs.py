"""An ONNX file's outputs, taken off: with the library of its format alone, without onnx.

Serving must not need onnx, and a large output that nobody reads costs time and memory all the
same: ONNX Runtime computes every output of a graph, whichever it is asked for.
"""

from __future__ import annotations

from typing import Any

from .onnx_messages import parse


def without_output(model: bytes, name: str) -> bytes:
    """Return an ONNX file's bytes without an output, and without the nodes only it needs.

    A file that has nodes with graphs inside them (If, Loop) is left as it is: what those read is
    not looked at.
    """
    parsed = parse(model)
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
