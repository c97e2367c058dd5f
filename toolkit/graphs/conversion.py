"""OpenVINO models: converted from PyTorch, stored in float16, or quantized to 8 bits.

The inputs are those of the ONNX variants.  :class:`.masked_bert.AskedBert` is the module that is
converted.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino

from ..engines.openvino_engine import INPUTS, OUTPUTS, feed
from ..engines.text import Batch
from . import fake_quantization
from .budget import divergence, measured, settle
from .half import require_fits_half

if TYPE_CHECKING:
    from torch.nn import Module


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
    float32 (see :mod:`.budget`).  Returns what was found, for the manifest.
    """
    model = openvino.Core().read_model(str(source))
    chosen = fake_quantization.choose(model, fake_quantization.observe(model, calibration))
    asked = measured(calibration)
    exact = fake_quantization.logits(model, asked)
    lookups = fake_quantization.lookups_of(model)
    others = _others_quantized(model, asked, [*chosen, *lookups.values()])
    del model

    def far(kept: Collection[str]) -> float:
        trial = others.clone()
        fake_quantization.apply(trial, chosen, kept, lookups)
        return divergence(fake_quantization.logits(trial, asked), exact)

    whole = sum(eight.work for eight in chosen.values())
    precision = settle(
        {name: eight.noise for name, eight in chosen.items()},
        {name: eight.work / whole for name, eight in chosen.items()},
        budget,
        far,
    )
    fake_quantization.apply(others, chosen, precision.kept, lookups)
    openvino.save_model(others, str(target), compress_to_fp16=False)
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
