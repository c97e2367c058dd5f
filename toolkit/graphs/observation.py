"""What the activations of a float graph look like on calibration sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..engines.text import Batch
from .grids import Floats, Observed

ROWS = 768  # of an activation that are kept, spread over all sentences


def observe(path: Path, names: Sequence[str], batches: Sequence[Batch]) -> Mapping[str, Observed]:
    """Run a float graph on calibration batches; return what its activations ``names`` are."""
    import onnxruntime

    model = onnx.load(str(path))
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Optimization at load would remove or rename the activations.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    del model
    inputs = [entry.name for entry in session.get_inputs()]
    gathering = {name: Gathering(len(batches)) for name in names}
    for batch in batches:
        activations = session.run(list(names), {name: getattr(batch, name) for name in inputs})
        for name, values in zip(names, activations, strict=True):
            gathering[name].add(values.reshape(-1, values.shape[-1]))
    return {name: gathered.observed() for name, gathered in gathering.items()}


class Gathering:
    """Gathers an activation's rows sentence by sentence: some are kept, chosen with a fixed seed.

    Args:
        sentences: how many there will be.

    """

    def __init__(self, sentences: int) -> None:
        self._each = max(1, ROWS // sentences)
        self._every = max(1, -(-sentences // ROWS))
        self._sentences, self._count = 0, 0
        self._random = np.random.default_rng(0)
        self._rows: list[Floats] = []
        self._extremes: list[Floats] = []

    def add(self, values: Floats) -> None:
        """Take a sentence's rows (rows, channels)."""
        self._extremes += [values.min(axis=0), values.max(axis=0)]
        if self._sentences % self._every == 0:
            kept = self._random.permutation(len(values))[: self._each]
            self._rows.append(values[np.sort(kept)])
        self._sentences += 1
        self._count += len(values)

    def observed(self) -> Observed:
        """Return what was seen."""
        extremes = np.stack(self._extremes)
        low, high = extremes.min(axis=0), extremes.max(axis=0)
        return Observed(np.concatenate(self._rows), low, high, self._count)
