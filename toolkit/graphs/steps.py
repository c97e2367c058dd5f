"""ONNX graphs: export from PyTorch, fusion, float16 storage, 8-bit quantization.

Every step reads a file and writes a file, so each can be run and inspected alone.  A step that
did not do all it should raises UnusableInputError: graph fusion is known to skip nodes silently.
"""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ..engines.text import Batch
from ..errors import UnusableInputError
from ..models.families import family, geometry
from . import quantization
from .eight_bits import to_int8_static
from .half import LARGEST_HALF, SMALLEST_HALF, require_fits_half
from .rewrites import (
    head_at_mask,
    last_layer_at_mask,
    plain_gelu,
    plain_norms,
    prune_vocabulary,
    top_k,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OUTPUT = "logits"
OPSET = 17


def export(network: PreTrainedModel, path: Path) -> None:
    """Write the float32 graph: full logits, dynamic batch and sequence length.

    The embedding and the decoder stay one tensor in the file (constant folding would write a
    transposed copy: 474 MB instead of 409 at the geometry of bert-base-chinese).  Raises
    UnusableInputError if the exporter refuses the network.
    """
    import torch

    inputs = family(network.config.to_dict()).inputs

    class Wrapped(torch.nn.Module):
        """Positional inputs, one output: what the exporter records."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *given: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(**dict(zip(inputs, given, strict=True))).logits
            return logits

    length = min(9, network.config.max_position_embeddings)
    ids = torch.arange(2 * length).reshape(2, length) % network.config.vocab_size  # any will do
    mask = torch.ones_like(ids)
    mask[1, -(length // 2) :] = 0  # with a padded row, tracing keeps the mask in the graph
    example = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    # Only eager attention, traced by the TorchScript exporter, can be fused to Attention.
    network.config._attn_implementation = "eager"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                Wrapped().eval(),
                tuple(example[name] for name in inputs),
                str(path),
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_axes={name: {0: "batch", 1: "sequence"} for name in (*inputs, OUTPUT)},
                opset_version=OPSET,
                do_constant_folding=False,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise UnusableInputError(
                f"this model cannot be exported: {str(error).splitlines()[0]}"
            ) from None
    onnx.checker.check_model(str(path))


def fuse(source: Path, target: Path, config: Mapping[str, Any]) -> None:
    """Fuse to Attention, SkipLayerNormalization and BiasGelu; check that every layer was fused."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    model_family, sizes = family(config), geometry(config)
    model = onnx.load(str(source))
    _residual_last(model)
    _transpose_once(model)
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False  # later steps need the embedding as a Gather
    fused = optimizer.optimize_by_fusion(
        model, "bert", num_heads=sizes.heads, hidden_size=sizes.hidden, optimization_options=options
    )
    counts = fused.get_fused_operator_statistics()
    for operator, count in model_family.fusions(config).items():
        if counts[operator] != count:
            raise UnusableInputError(
                f"fusion gave {counts[operator]} {operator} nodes, not {count}:"
                f" this graph is not a {model_family.title} of the geometry in config.json"
            )
    _share_equal_weights(fused.model)
    fused.save_model_to_file(str(target))


def _residual_last(model: onnx.ModelProto) -> None:
    """Put the residual second in ``Add(residual, branch)``, where fusion looks for the branch."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    uses = Counter(name for node in model.graph.node for name in node.input)
    for node in model.graph.node:
        if node.op_type == "Add" and all(makers.get(name) == "Add" for name in node.input):
            first, second = node.input
            if uses[first] > 1 and uses[second] == 1:
                node.input[:] = [second, first]


def _transpose_once(model: onnx.ModelProto) -> None:
    """Let all users of a transposed weight share one Transpose.

    Fusion folds every Transpose into the weight itself, so a second one would undo the first.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    first: dict[str, str] = {}
    duplicates: dict[str, str] = {}
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            shared = first.setdefault(node.input[0], node.output[0])
            if shared != node.output[0]:
                duplicates[node.output[0]] = shared
                model.graph.node.remove(node)
    _rename(model, duplicates)


def _rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename inputs in all nodes."""
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def _share_equal_weights(model: onnx.ModelProto) -> None:
    """Store equal matrices once: if layers share weights, fusion packs a copy for each layer."""
    graph = model.graph
    first: dict[tuple[bytes, tuple[int, ...]], str] = {}
    twins: dict[str, str] = {}
    for tensor in graph.initializer:
        if len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor)
            key = (hashlib.sha256(values.tobytes()).digest(), values.shape)
            name = first.setdefault(key, tensor.name)
            if name != tensor.name:
                twins[tensor.name] = name
    _rename(model, twins)
    kept = [tensor for tensor in graph.initializer if tensor.name not in twins]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def to_fp16(source: Path, target: Path) -> None:
    """Store the weights in float16, each behind a Cast that ONNX Runtime folds away at load.

    Arithmetic stays float32, so only the rounding of the weights can change an answer.  (Converting
    the whole graph would leave Casts between the operators: a CPU has no float16 kernels.)
    Raises UnusableInputError for a weight that float16 cannot hold.
    """
    model = onnx.load(str(source))
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        weight = onnx.numpy_helper.to_array(tensor)
        name = tensor.name
        require_fits_half(name, weight)
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight.astype(np.float16), f"{name}_fp16"))
        casts.append(
            onnx.helper.make_node("Cast", [f"{name}_fp16"], [name], to=onnx.TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(target))


def to_fp16_naive(source: Path, target: Path) -> None:
    """Convert the whole graph to float16 with onnxconverter-common, as most guides do.

    This too halves the file.  But a CPU has no float16 kernels for most operators, so at load ONNX
    Runtime puts a Cast before and after them, and values go back and forth between the types.
    Raises UnusableInputError for a weight that float16 cannot hold: the converter would clip it.
    """
    from onnxconverter_common.float16 import convert_float_to_float16

    model = onnx.load(str(source))
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            require_fits_half(tensor.name, onnx.numpy_helper.to_array(tensor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every weight that is rounded to zero
        converted = convert_float_to_float16(
            model,
            min_positive_val=SMALLEST_HALF,  # by default weights are kept within 1e-7..1e4
            max_finite_val=LARGEST_HALF,
            keep_io_types=True,
        )
    onnx.save(converted, str(target))


def to_int8(source: Path, target: Path) -> None:
    """Quantize matrix products and embeddings: dynamic U8 activations x S8 weights per channel.

    VNNI instructions multiply U8 x S8.  The activation's scale is taken from the whole tensor, so
    an answer can depend on its neighbours in a batch (the manifest says so).
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    unfolded = onnx.load(str(source))
    write_out_transposed_weights(unfolded)
    beside = target.with_suffix(".float.onnx")
    try:
        onnx.save(unfolded, str(beside))
        logging.getLogger().setLevel(logging.ERROR)  # it advises what fusion has done
        quantize_dynamic(
            str(beside),
            str(target),
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={
                "DefaultTensorType": onnx.TensorProto.FLOAT,
                "MatMulConstBOnly": True,
            },
        )
    finally:
        beside.unlink(missing_ok=True)
    before, after = operators(source), operators(target)
    for floating, integer in {"Attention": "QAttention", "MatMul": "MatMulInteger"}.items():
        if after[integer] != before[floating]:
            raise UnusableInputError(
                f"quantization gave {after[integer]} {integer} nodes, not {before[floating]}"
            )


def write_out_transposed_weights(model: onnx.ModelProto) -> None:
    """Replace ``Transpose(weight)`` by the transposed weight: else its MatMul is not quantized."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    transposes = {node.output[0]: node for node in graph.node if node.op_type == "Transpose"}
    for node in list(graph.node):
        transpose = transposes.get(node.input[1]) if node.op_type == "MatMul" else None
        if transpose is None or transpose.input[0] not in weights:
            continue
        weight = onnx.numpy_helper.to_array(weights[transpose.input[0]])
        name = f"{transpose.output[0]}_written_out"
        graph.initializer.append(onnx.numpy_helper.from_array(weight.T.copy(), name))
        node.input[1] = name
        graph.node.remove(transpose)


def operators(path: Path) -> Counter[str]:
    """Return how often each operator occurs in a graph."""
    graph = onnx.load(str(path), load_external_data=False).graph
    return Counter(node.op_type for node in graph.node)


@dataclass(frozen=True)
class Origin:
    """What steps need to know about the model.

    ``config`` is its config.json, ``mask_id`` the id of [MASK], ``kept`` the old ids that a pruned
    vocabulary keeps (the other fields then use the new ids).  ``budget`` is the divergence that 8
    bits may cost (see budget.py), None for any.
    """

    config: Mapping[str, Any]
    mask_id: int
    calibration: Sequence[Batch]
    kept: Sequence[int] = ()
    budget: float | None = None


Step = Callable[[Path, Path, Origin], None]
Change = Callable[[onnx.ModelProto, Origin], None]

REWRITES: dict[str, Change] = {
    "prune-vocabulary": lambda model, origin: prune_vocabulary(model, origin.kept),
    "head-at-mask": lambda model, origin: head_at_mask(model, origin.mask_id),
    "last-layer-at-mask": lambda model, _: last_layer_at_mask(model),
    "plain-norms": lambda model, _: plain_norms(model),
    "plain-gelu": lambda model, _: plain_gelu(model),
    "top-k": lambda model, _: top_k(model),
    "share-embedding": lambda model, _: quantization.share_embedding(model),
    "small-tables": lambda model, _: quantization.small_tables(model),
}
"""Steps that change a graph in memory."""


def rewrite(source: Path, target: Path, changes: Sequence[Change], origin: Origin) -> None:
    """Apply changes to a graph one after the other; read and write the file once."""
    model = onnx.load(str(source))
    for change in changes:
        change(model, origin)
    _save(model, target)


def _save(model: onnx.ModelProto, target: Path) -> None:
    """Write a graph and check the file (to check a graph in memory, the checker copies it)."""
    onnx.save(model, str(target))
    del model
    onnx.checker.check_model(str(target))


STEPS: dict[str, Step] = {
    "fuse": lambda source, target, origin: fuse(source, target, origin.config),
    "fp16": lambda source, target, _: to_fp16(source, target),
    "fp16-naive": lambda source, target, _: to_fp16_naive(source, target),
    "int8-dynamic": lambda source, target, _: to_int8(source, target),
    "int8-static": lambda source, target, origin: to_int8_static(
        source, target, origin.calibration, origin.budget
    ),
}
"""Steps from file to file."""


def make(source: Path, target: Path, steps: Sequence[str], origin: Origin) -> None:
    """Run one step of STEPS, or any number of steps of REWRITES."""
    if steps[0] in STEPS:
        (step,) = steps
        STEPS[step](source, target, origin)
    else:
        rewrite(source, target, [REWRITES[step] for step in steps], origin)
