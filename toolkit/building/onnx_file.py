"""An ONNX file on the disk: the files that belong to it, and what can be read from its graph."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnusableInputError
from .external_data import external_files

if TYPE_CHECKING:
    import onnx

POINTER = b"version https://git-lfs"
# Operators that compute a scale from the whole activation tensor, so from the whole batch.
DYNAMIC = {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}
POSITION_TABLE = "position_embeddings"


@dataclass(frozen=True)
class OnnxFile:
    """A model file and the files its weights lie in.

    ``files`` maps names relative to the model file's folder to paths, the model file (``name``)
    first.  ``parameters`` counts the numbers of all weights.  ``positions`` holds the length of the
    table of position embeddings, if a weight is named so.  ``dynamic`` says whether an answer can
    depend on the other sentences of its batch.
    """

    name: str
    files: Mapping[str, Path]
    parameters: int
    positions: list[int]
    dynamic: bool


def read_onnx_file(path: Path) -> OnnxFile:
    """Read a file's graph; weights in other files are located, not read.

    Raises UnusableInputError if it is no ONNX file, or keeps weights outside its folder.
    """
    model = _parsed(path)
    weights = [tensor for tensor in model.graph.initializer if tensor.dims]
    tables = [t.dims[0] for t in weights if POSITION_TABLE in t.name and len(t.dims) == 2]
    graphs = [model.graph, *model.functions]
    return OnnxFile(
        path.name,
        {path.name: path} | external_files(path, hub_links=True),
        sum(math.prod(tensor.dims) for tensor in weights),
        [int(length) for length in tables],
        any(node.op_type in DYNAMIC for graph in graphs for node in graph.node),
    )


def _parsed(path: Path) -> onnx.ModelProto:
    import onnx

    if not path.is_file():
        raise UnusableInputError(f"{path} is no file: name an ONNX file")
    with path.open("rb") as stream:
        if stream.read(len(POINTER)) == POINTER:
            raise UnusableInputError(
                f"{path} is a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'"
            )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # protobuf raises several types, others if it is too large
        model = onnx.ModelProto()
    if not model.graph.node or not model.opset_import:
        raise UnusableInputError(f"{path} is no ONNX file: name one that ONNX Runtime can load")
    return model
