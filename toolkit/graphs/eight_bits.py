"""The step ``int8-static``: a float graph in 8 bits with fixed scales, within a budget.

What was found is written into the file (``metadata_props``), so that it stays with it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ..engines.outputs import LOGITS, MASK_LOGITS
from ..engines.text import Batch
from ..files import give_memory_back
from .budget import Floats, divergence, measured, settle
from .observation import observe
from .quantization import Scheme, prepare, quantize
from .rewrites import Rewriter
from .smoothing import products

FACTS = "tiankong.int8"  # the key in a file's metadata


def to_int8_static(
    source: Path, target: Path, calibration: Sequence[Batch], budget: float | None = None
) -> None:
    """Quantize with fixed scales; keep products in float32 where the budget asks for it."""
    names = activations(source)
    seen = observe(source, names, calibration)
    model = onnx.load(str(source))
    scheme = prepare(model, seen)
    del seen
    give_memory_back()
    trials = _Trials(model, scheme, measured(calibration))
    precision = settle(scheme.noises, scheme.shares, budget, trials.far, scheme.multiplied)
    quantize(model, scheme, precision.kept)
    facts = precision.as_json()
    if "float32" in facts:
        facts["float32"] = {_plain(name): share for name, share in facts["float32"].items()}
    entry = model.metadata_props.add()
    entry.key, entry.value = FACTS, json.dumps(facts)
    onnx.save(model, str(target))
    del model, trials
    onnx.checker.check_model(str(target))


def activations(source: Path) -> list[str]:
    """Return the names of the activations that a float graph's weights multiply."""
    rewriter = Rewriter(onnx.load(str(source)))
    return sorted({product.input[0] for product in products(rewriter)})


def read_facts(path: Path) -> dict[str, Any] | None:
    """Return what an 8-bit file says of itself (see :class:`.budget.Precision`), if anything."""
    for entry in onnx.load(str(path), load_external_data=False).metadata_props:
        if entry.key == FACTS:
            facts: dict[str, Any] = json.loads(entry.value)
            return facts
    return None


def _plain(name: str) -> str:
    """Return a weight's name as a reader knows it.

    >>> _plain("network.bert.encoder.layer.3.output.dense.weight"), _plain("Attention_1_qkv_weight")
    ('bert.encoder.layer.3.output.dense', 'Attention_1_qkv')
    """
    return name.removeprefix("network.").removesuffix("_weight").removesuffix(".weight")


class _Trials:
    """Measures what 8 bits change in a prepared graph."""

    def __init__(self, model: onnx.ModelProto, scheme: Scheme, batches: Sequence[Batch]) -> None:
        self._model, self._scheme, self._batches = model, scheme, batches
        self._exact = self._logits(set(scheme.weights))

    def far(self, kept: Collection[str]) -> float:
        """Return the divergence, in nats, with some weights' products kept in float32."""
        return divergence(self._logits(kept), self._exact)

    def _logits(self, kept: Collection[str]) -> Floats:
        import onnxruntime

        trial = onnx.ModelProto()
        trial.CopyFrom(self._model)
        quantize(trial, self._scheme, kept)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        content = trial.SerializeToString()
        del trial
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        del content
        inputs = [entry.name for entry in session.get_inputs()]
        at_masks = MASK_LOGITS in {entry.name for entry in session.get_outputs()}
        found = []
        for batch in self._batches:
            (logits,) = session.run(
                [MASK_LOGITS if at_masks else LOGITS],
                {name: getattr(batch, name) for name in inputs},
            )
            found.append(logits if at_masks else logits[batch.rows, batch.columns])
        return np.concatenate(found)
