"""The ONNX Runtime engine (CPU)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .errors import UnusableInputError
from .machine import usable_cores
from .predictor import Best, Logits, best_of
from .text import Batch

MASK_LOGITS, TOP_SCORES, TOP_IDS = "mask_logits", "top_scores", "top_ids"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxEngine:
    """Runs an ONNX masked LM with the usual inputs.

    Its output is one of full logits, or those of a rewritten graph (see rewrites.py).

    One session serves any number of callers at once.  Its threads do not spin while they wait:
    spinning threads take the cores from other callers and from neighbours on a shared machine.

    Args:
        path: the ONNX file.
        threads: threads for one call (0: all cores this process may use).

    Raises UnusableInputError if ONNX Runtime refuses the file or its inputs are not the usual.

    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the library's errors share no public base class
            raise UnusableInputError(
                f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}"
            ) from None
        self._outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        if unknown := sorted(set(self._inputs) - set(INPUTS)):
            raise UnusableInputError(f"{path} has an unknown input {unknown[0]!r}")

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        if MASK_LOGITS in self._outputs:
            (picked,) = self._run([MASK_LOGITS], batch)
        else:
            (full,) = self._run([next(iter(self._outputs))], batch)
            picked = full[batch.rows, batch.columns]
        logits: Logits = picked.astype(np.float32, copy=False)
        return logits

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the best tokens' ids and probabilities, each of shape (masks, top_k)."""
        if top_k > self._outputs.get(TOP_IDS, (0, 0))[1]:
            return best_of(self.logits(batch), top_k)
        scores, ids = self._run([TOP_SCORES, TOP_IDS], batch)
        return ids[:, :top_k], scores[:, :top_k]

    def _run(self, outputs: list[str], batch: Batch) -> list[NDArray[Any]]:
        feed = {name: getattr(batch, name) for name in self._inputs}
        found: list[NDArray[Any]] = self._session.run(outputs, feed)
        return found
