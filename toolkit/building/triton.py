"""A model repository for Triton Inference Server, made of built variants.

    DIR/onnx-int8/config.pbtxt      the model's inputs and outputs, how it is run
    DIR/onnx-int8/1/model.onnx      version 1
    DIR/onnx-int8/tokenizer.json    for clients: Triton gets ids, not sentences

Layout and fields follow Triton's pages on model repositories and model configuration and
model_config.proto (triton-inference-server/common); the parameters follow the backends' READMEs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..console import say
from ..engines.kinds import all_kinds
from ..engines.text import TextEncoder
from ..errors import UnusableInputError
from ..files import folder_written_whole, require_disk, write_text
from ..pbtxt import Message, Word, text_of
from .folders import Built
from .onnx_file import read_onnx_file

MAX_BATCH = 16
VERSION = "1"
ONNX_TYPES = {
    "tensor(int64)": "TYPE_INT64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(float)": "TYPE_FP32",
    "tensor(float16)": "TYPE_FP16",
    "tensor(bool)": "TYPE_BOOL",
}
OPENVINO_TYPES = {
    "i64": "TYPE_INT64",
    "i32": "TYPE_INT32",
    "f32": "TYPE_FP32",
    "f16": "TYPE_FP16",
    "boolean": "TYPE_BOOL",
}
MASKED = "Each request runs alone, with any number of sentences: the outputs have a row per [MASK]."
MIXED = "Each request runs alone: an answer could depend on its neighbours in a batch."
AS_GIVEN = "Each request runs alone, of any number of sentences."
FIXED = "Each request runs alone, in the one shape the file takes."
TOGETHER = "Requests of equal length may run together."


@dataclass(frozen=True)
class TritonTensor:
    """An input or output: Triton's name of its type, its axes (-1: any size)."""

    name: str
    kind: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """A model's inputs and outputs, as its engine describes them.

    ``batch``: the first axis of every tensor counts sentences, and their answers do not depend on
    each other.  ``why`` says in a sentence what follows for batches.
    """

    inputs: Sequence[TritonTensor]
    outputs: Sequence[TritonTensor]
    batch: bool
    why: str


@dataclass(frozen=True)
class Running:
    """How Triton runs each model: its instances, and the threads of each (0: one per core)."""

    instances: int = 1
    threads: int = 0
    max_batch: int = MAX_BATCH


def write_repository(folder: Path, variants: Sequence[Built], running: Running) -> list[Path]:
    """Write a repository of variants, whole or not at all; return the models' folders.

    Raises UnusableInputError if the folder is not empty, a variant is damaged, or an engine has no
    backend in Triton.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UnusableInputError(f"{folder} is there and not empty: name a new folder")
    for built in variants:
        require_backend(built)
    require_disk(folder, sum(built.manifest.size for built in variants), "the repository")
    with folder_written_whole(folder) as place:
        for built in variants:
            built.manifest.verify(built.folder)
            say(f"export: {built.manifest.variant}")
            _write_model(place / built.manifest.variant, built, running)
    return [folder / built.manifest.variant for built in variants]


def require_backend(built: Built) -> None:
    """Raise UnusableInputError unless Triton has a backend for a variant's engine."""
    kind = built.manifest.recipe.kind
    if kind.triton not in BACKENDS:
        able = " or ".join(k.name for k in all_kinds().values() if k.triton in BACKENDS)
        raise UnusableInputError(
            f"{built.manifest.variant} is a {kind.name} variant, which is not exported for Triton:"
            f" name variants of {able}"
        )


def _write_model(place: Path, built: Built, running: Running) -> None:
    (place / VERSION).mkdir(parents=True)
    recipe = built.manifest.recipe
    backend = BACKENDS[recipe.kind.triton]
    source = built.folder / recipe.file
    backend.write(source, place / VERSION)
    shutil.copyfile(built.folder / "tokenizer.json", place / "tokenizer.json")
    graph = backend.describe(source, TextEncoder.from_folder(built.folder).mask_id)
    config = config_of(built.manifest.variant, recipe.kind.triton, graph, running)
    parameters = [
        {"key": key, "value": {"string_value": value}}
        for key, value in backend.parameters(running).items()
    ]
    text = text_of(config | {"parameters": parameters})
    write_text(place / "config.pbtxt", f"# {recipe.summary}\n# {graph.why}\n{text}\n")


def config_of(name: str, backend: str, graph: Graph, running: Running) -> dict[str, Any]:
    """Return the fields of a ModelConfig that all backends share."""
    max_batch = running.max_batch if graph.batch else 0
    config: dict[str, Any] = {
        "name": name,
        "backend": backend,
        "max_batch_size": max_batch,
        "version_policy": {"specific": {"versions": [int(VERSION)]}},
        "input": [_field(tensor, max_batch) for tensor in graph.inputs],
        "output": [_field(tensor, max_batch) for tensor in graph.outputs],
        "instance_group": [{"count": running.instances, "kind": Word("KIND_CPU")}],
    }
    return config | ({"dynamic_batching": {}} if max_batch else {})


def _field(tensor: TritonTensor, max_batch: int) -> Message:
    """Return an input or output; where Triton makes batches, the batch axis is left out."""
    dims = tensor.dims[1:] if max_batch else tensor.dims
    return {"name": tensor.name, "data_type": Word(tensor.kind), "dims": list(dims)}


# --- ONNX Runtime -------------------------------------------------------------------------------


def describe_onnx(path: Path, mask_id: int) -> Graph:
    """Return what ONNX Runtime says of a file; run it once to see whether it can be batched."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = [_onnx_tensor(entry, path) for entry in session.get_inputs()]
    outputs = [_onnx_tensor(entry, path) for entry in session.get_outputs()]
    if any(tensor.dims != (-1, -1) for tensor in inputs):
        return Graph(inputs, outputs, False, FIXED)
    if not _gives_rows_of_sentences(session, mask_id):
        return Graph(inputs, outputs, False, MASKED)
    if read_onnx_file(path).dynamic:
        return Graph(inputs, outputs, False, MIXED)
    return Graph(inputs, outputs, True, TOGETHER)


def _onnx_tensor(entry: Any, path: Path) -> TritonTensor:
    if entry.type not in ONNX_TYPES:
        raise UnusableInputError(
            f"{path}: {entry.name!r} is a {entry.type}: Triton has no such type"
        )
    dims = tuple(size if isinstance(size, int) else -1 for size in entry.shape)
    return TritonTensor(entry.name, ONNX_TYPES[entry.type], dims)


def _gives_rows_of_sentences(session: Any, mask_id: int) -> bool:
    """Tell whether the first axis of every output counts sentences (tried with two masks each)."""
    sentences, tokens = 3, 7
    values = {"attention_mask": 1}
    feed = {}
    for entry in session.get_inputs():
        kind = {"tensor(int32)": np.int32, "tensor(float)": np.float32}.get(entry.type, np.int64)
        feed[entry.name] = np.full((sentences, tokens), values.get(entry.name, 0), kind)
    feed["input_ids"][:, 2:4] = mask_id
    return all(output.shape[0] == sentences for output in session.run(None, feed))


def write_onnx(path: Path, place: Path) -> None:
    """Copy a model's files: Triton looks for model.onnx, weights keep their names."""
    model = read_onnx_file(path)
    for name, file in model.files.items():
        target = place / ("model.onnx" if name == model.name else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def onnx_parameters(running: Running) -> dict[str, str]:
    """Return the parameters the onnxruntime backend reads."""
    return {"intra_op_thread_count": str(running.threads), "inter_op_thread_count": "1"}


# --- OpenVINO -----------------------------------------------------------------------------------


def describe_openvino(path: Path, mask_id: int) -> Graph:
    """Return what OpenVINO says of a file; Triton makes no batches: the backend would pad them."""
    from ..engines.openvino_engine import read_asked

    model = read_asked(path)
    inputs = [_openvino_tensor(port, path) for port in model.inputs]
    outputs = [_openvino_tensor(port, path) for port in model.outputs]
    return Graph(inputs, outputs, False, AS_GIVEN)


def _openvino_tensor(port: Any, path: Path) -> TritonTensor:
    name, kind = port.get_any_name(), port.get_element_type().get_type_name()
    if kind not in OPENVINO_TYPES:
        raise UnusableInputError(f"{path}: {name!r} is of type {kind}: Triton has no such type")
    dims = [axis.get_length() if axis.is_static else -1 for axis in port.get_partial_shape()]
    return TritonTensor(name, OPENVINO_TYPES[kind], tuple(dims))


def write_openvino(path: Path, place: Path) -> None:
    """Write a model without ``logits`` (the backend computes every output), as Triton names it."""
    import openvino

    from ..engines.openvino_engine import read_asked

    openvino.save_model(read_asked(path), str(place / "model.xml"), compress_to_fp16=False)


def openvino_parameters(running: Running) -> dict[str, str]:
    """Return the parameters the openvino backend reads."""
    threads = {"INFERENCE_NUM_THREADS": str(running.threads)} if running.threads else {}
    return {"NUM_STREAMS": "1", **threads}


@dataclass(frozen=True)
class Backend:
    """How to describe and configure models for one of Triton's backends."""

    describe: Callable[[Path, int], Graph]
    write: Callable[[Path, Path], None]
    parameters: Callable[[Running], dict[str, str]]


BACKENDS = {
    "onnxruntime": Backend(describe_onnx, write_onnx, onnx_parameters),
    "openvino": Backend(describe_openvino, write_openvino, openvino_parameters),
}
"""The backends by their names in Triton."""
