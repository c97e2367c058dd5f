"""OpenVINO models: converted from PyTorch, stored in half the size, or quantized to 8 bits.

The input names are those of the ONNX variants and two more: ``rows`` and ``columns``, which say
where the masks stand (see :class:`.asked.AskedBert`, which is what is converted).
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import openvino

from ..engines.openvino_engine import INPUTS, OUTPUTS, feed
from ..engines.text import Batch

if TYPE_CHECKING:
    from torch.nn import Module

SENDS_NOTHING = {"CI": "true", "NNCF_CI": "1"}
"""What OpenVINO's converter and NNCF must find in the environment to send no statistics."""


def convert(network: Module, path: Path, example: Batch) -> None:
    """Write a BERT as a float32 OpenVINO model (``path`` and beside it ``.bin``).

    Raises UnusableInputError for a network that is no BERT.
    """
    import torch

    from .masked_bert import AskedBert

    given = tuple(torch.from_numpy(array) for array in feed(example).values())
    with _silent(), torch.no_grad():
        model = openvino.convert_model(AskedBert(network).eval(), example_input=given)
    for entry, (name, axes) in zip(model.inputs, INPUTS.items(), strict=True):
        entry.get_tensor().set_names({name})
        entry.get_node().set_partial_shape(openvino.PartialShape([-1] * axes))
    for entry, name in zip(model.outputs, OUTPUTS, strict=True):
        entry.get_tensor().set_names({name})
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, str(path), compress_to_fp16=False)


def store_half(source: Path, target: Path) -> None:
    """Store the weights in float16, half the size; what is computed in is said at load.

    bfloat16 has fewer digits, so weights that are computed with in bfloat16 lose nothing.
    """
    model = openvino.Core().read_model(str(source))
    openvino.save_model(model, str(target), compress_to_fp16=True)


def quantize(source: Path, target: Path, calibration: Sequence[Batch]) -> None:
    """Quantize products, attention and embeddings to 8 bits with fixed scales (NNCF).

    An activation's scale is fixed by its smallest and largest value on calibration sentences, so an
    answer depends neither on its neighbours in a batch nor on padding.  NNCF's own choice keeps
    fewer answers (seen on the gold set with builtin-small, same top-5: 22 %; with the whole range
    28 %; without SmoothQuant's shift into the weights as well 72 %).
    """
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
        model = openvino.Core().read_model(str(source))
        eight = nncf.quantize(
            model,
            nncf.Dataset([feed(batch) for batch in calibration]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(calibration),
            advanced_parameters=choices,
        )
    openvino.save_model(eight, str(target), compress_to_fp16=False)


@contextmanager
def _silent() -> Iterator[None]:
    """Let the libraries neither send usage statistics, nor draw bars into our standard output."""
    before = {name: os.environ.get(name) for name in SENDS_NOTHING}
    os.environ.update(SENDS_NOTHING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
