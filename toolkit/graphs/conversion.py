"""OpenVINO models: converted from PyTorch, stored in float16, or quantized to 8 bits.

The inputs are those of the ONNX variants.  :class:`.masked_bert.AskedBert` is the module that is
converted.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from ..engines.openvino_engine import INPUTS, LOGITS, MASK_LOGITS, OUTPUTS, feed
from ..engines.text import Batch
from . import fake_quantization
from .budget import divergence, measured, settle
from .half import require_fits_half

if TYPE_CHECKING:
    from torch.nn import Module

ATTENTION = "attention"  # of all layers, as a manifest names it


def convert(network: Module, path: Path, example: Batch, mask_id: int) -> None:
    """Write a BERT as a float32 OpenVINO model (``path``, and a ``.bin`` file beside it).

    ``mask_id`` is the id of [MASK]; ``example`` is a batch that has one.  Raises UnusableInputError
    if the network is not a BERT.
    """
    import torch

    from .masked_bert import AskedBert

    example_input = tuple(torch.from_numpy(array) for array in feed(example).values())
    with _silent(), torch.no_grad():
        asked = AskedBert(network, mask_id).eval()
        model = openvino.convert_model(asked, example_input=example_input)
    for entry, name in zip(model.inputs, INPUTS, strict=True):
        entry.get_tensor().set_names({name})
        entry.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    for entry, name in zip(model.outputs, OUTPUTS, strict=True):
        entry.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, str(path), compress_to_fp16=False)


def offer_logits(path: Path, mask_id: int) -> None:
    """Add the output ``logits`` to a model's file, so that other programs can use it.

    Of shape (sentences, tokens, vocabulary), zero but where a [MASK] is, as in the ONNX variants:
    what Optimum's OVModelForMaskedLM reads.  The rest of the graph stays as it is, and
    :func:`.read_asked` reads it without this output.
    """
    from openvino import opset13 as ops

    model = openvino.Core().read_model(str(path))
    ids, mask, *_ = (entry.get_node() for entry in model.inputs)
    picked = model.output(MASK_LOGITS)
    vocabulary = picked.get_partial_shape()[1].get_length()
    asked = ops.logical_and(ops.equal(ids, np.int32(mask_id)), ops.not_equal(mask, np.int32(0)))
    places = ops.transpose(ops.non_zero(asked, output_type="i32"), np.array([1, 0], np.int32))
    whole = ops.concat(
        [ops.shape_of(ids, output_type="i32"), ops.constant(np.array([vocabulary], np.int32))], 0
    )
    zeros = ops.broadcast(ops.constant(np.float32(0)), whole)
    logits = ops.scatter_nd_update(zeros, places, picked.get_node().input_value(0))
    logits.output(0).get_tensor().set_names({LOGITS})
    model.add_results([ops.result(logits)])
    model.validate_nodes_and_infer_types()
    beside = path.with_name(f"{path.stem}_{LOGITS}.xml")  # the file that was read is mapped
    openvino.save_model(model, str(beside), compress_to_fp16=False)
    del model, ids, mask, picked, asked, places, whole, zeros, logits
    for suffix in (".xml", ".bin"):
        beside.with_suffix(suffix).replace(path.with_suffix(suffix))


def store_half(source: Path, target: Path) -> None:
    """Store the weights in float16, half the size; the precision of arithmetic is set at load.

    bfloat16 has fewer significant bits, so weights rounded to bfloat16 at load lose nothing.
    Raises UnusableInputError for a weight that float16 cannot hold: the library would clip it.
    """
    model = openvino.Core().read_model(str(source))
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_output_size() == 1:
            _require_fits_half(node)
    openvino.save_model(model, str(target), compress_to_fp16=True)


def _require_fits_half(constant: Any) -> None:
    """Raise UnusableInputError if a weight has a value too large; single numbers stay float32."""
    values = constant.data
    if values.dtype == np.float32 and values.size > 1:
        require_fits_half(constant.get_friendly_name(), values)


def quantize(
    source: Path, target: Path, calibration: Sequence[Batch], budget: float | None = None
) -> dict[str, Any]:
    """Quantize products, attention and embeddings to 8 bits with fixed scales.

    Products with a weight are done by :mod:`.fake_quantization`, the rest by NNCF, whose ranges are
    the smallest and largest values on the calibration sentences.  So an answer depends neither on
    its neighbours in a batch nor on padding.  Products that cost more than the ``budget`` stay in
    float32 (see :mod:`.budget`); attention, whose ranges nothing evens out, counts as one of them.
    Returns what was found, for the manifest.
    """
    plain = openvino.Core().read_model(str(source))
    chosen = fake_quantization.choose(plain, fake_quantization.observe(plain, calibration))
    asked = measured(calibration)
    exact = fake_quantization.logits(plain, asked)
    lookups = fake_quantization.lookups_of(plain)
    others = _others_quantized(plain, asked, [*chosen, *lookups.values()])

    def made(kept: Collection[str]) -> openvino.Model:
        model = (plain if ATTENTION in kept else others).clone()
        fake_quantization.apply(model, chosen, kept, lookups)
        return model

    noises = {name: eight.noise for name, eight in chosen.items()}
    work = {name: eight.work for name, eight in chosen.items()}
    if attention := fake_quantization.attention_work(plain, calibration):
        # Its error is not known beforehand, so its damage is measured first.
        noises, work = {ATTENTION: math.inf} | noises, {ATTENTION: attention} | work
    whole = sum(work.values())
    shares = {name: part / whole for name, part in work.items()}
    precision = settle(
        noises,
        shares,
        budget,
        lambda kept: divergence(fake_quantization.logits(made(kept), asked), exact),
    )
    openvino.save_model(made(precision.kept), str(target), compress_to_fp16=False)
    return precision.as_json()


def _others_quantized(
    model: openvino.Model, calibration: Sequence[Batch], left: Sequence[str]
) -> openvino.Model:
    """Return a model with attention in 8 bits, the operators ``left`` left alone."""
    with _silent():
        import nncf
        from nncf.quantization.advanced_parameters import (
            AdvancedQuantizationParameters,
            AdvancedSmoothQuantParameters,
        )
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet

        nncf.set_log_level("ERROR")
        choices = AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1),  # off
        )
        result: openvino.Model = nncf.quantize(
            model,
            nncf.Dataset([feed(batch) for batch in calibration]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
            ignored_scope=nncf.IgnoredScope(names=list(left)),
            advanced_parameters=choices,
        )
    return result


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the libraries from drawing bars on standard output."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
