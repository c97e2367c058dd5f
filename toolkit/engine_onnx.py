"""The ONNX Runtime engine (CPU)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from .errors import UnusableInputError
from .machine import usable_cores
from .predictor import Logits
from .text import Batch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class OnnxEngine:
    """Runs an ONNX masked LM with the usual inputs and one output of full logits.

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
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        if unknown := sorted(set(self._inputs) - set(INPUTS)):
            raise UnusableInputError(f"{path} has an unknown input {unknown[0]!r}")
        self._output = self._session.get_outputs()[0].name

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        feed = {name: getattr(batch, name) for name in self._inputs}
        (full,) = self._session.run([self._output], feed)
        logits: Logits = np.asarray(full)[batch.rows, batch.columns].astype(np.float32, copy=False)
        return logits
