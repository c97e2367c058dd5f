"""The OpenVINO engine (CPU)."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from ..errors import UnusableInputError
from ..machine import usable_cores
from .kinds import OPENVINO, Threads, VariantFiles
from .predictor import About, Best, Engine, Logits, best_of
from .prepared import prepare
from .sharing import SharingEngine, widths
from .text import Batch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
PLACES = ("rows", "columns")  # further inputs of models that compute padding, as once were made
MASK_LOGITS, TOP_SCORES, TOP_IDS = OUTPUTS = ("mask_logits", "top_scores", "top_ids")
LOGITS = "logits"
"""An output for other programs: (sentences, tokens, vocabulary), zero but at each [MASK]."""
HINTS = {"fp32": "f32", "bf16": "bf16"}

# The first array that becomes a tensor loads NumPy's interface.  Two threads that do this at the
# same time wait for each other for ever (openvino 2026.4).  So it is done here, at import.
openvino.Tensor(np.zeros(1, np.int32))


def feed(batch: Batch, names: Iterable[str] = INPUTS) -> dict[str, NDArray[np.int32]]:
    """Return a batch as the model takes it: in int32 (OpenVINO would convert int64)."""
    return {name: getattr(batch, name).astype(np.int32) for name in names}


def read_asked(path: Path) -> openvino.Model:
    """Read a model without its output ``logits``, if it has those of the masks as well.

    What a compiled model has as an output, it computes in every call.
    """
    model = openvino.Core().read_model(str(path))
    outputs = {name: r for r in model.get_results() for name in r.input_value(0).get_names()}
    if {LOGITS, MASK_LOGITS} <= outputs.keys():
        model.remove_result(outputs[LOGITS])
    return model


def open_engine(files: VariantFiles, threads: Threads) -> Engine:
    """Return the engine of a variant; raises as OpenvinoEngine and :func:`sharing_engine` do."""
    if threads.share:
        return sharing_engine(files.path, files.digest, files.precision, files.kept, threads.cores)
    return OpenvinoEngine(files.path, threads.each, files.precision)


class OpenvinoEngine(Engine):
    """Runs a model that :mod:`.conversion` made.

    Calls from several threads run at the same time, each in a stream of ``threads`` threads.  There
    are as many streams as fit the cores; further calls wait for a free one.

    Args:
        path: the ``.xml`` file, its ``.bin`` beside it.
        threads: threads for one call (0: all cores this process may use).
        precision: the precision where the model is not 8-bit: ``fp32`` or ``bf16``.  It is always
            set: by default OpenVINO uses bfloat16 where the CPU has it.
        prepared: the folder of OpenVINO's cache of compiled models (None: no cache).

    Raises UnusableInputError if OpenVINO refuses the file or one of ``INPUTS`` is missing.

    """

    def __init__(
        self,
        path: Path,
        threads: int = 0,
        precision: str = "fp32",
        prepared: Path | None = None,
    ) -> None:
        cores = usable_cores()
        streams = max(1, cores // (threads or cores))
        options: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": streams * (threads or cores),
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # the scheduler knows the other processes, we do not
            # OpenVINO caches what it prepares for a sentence length, some six entries each.  With
            # no cache, a sentence of another length takes twice as long; with no limit, memory
            # grows.
            "CPU_RUNTIME_CACHE_CAPACITY": 1000,
        }
        if prepared:
            options["CACHE_DIR"] = str(prepared)
        try:
            self._model = openvino.Core().compile_model(read_asked(path), "CPU", options)
        except Exception as error:  # the library's errors share no public base class
            raise UnusableInputError(f"OpenVINO cannot load {path}: {_last_line(error)}") from None
        names = {name for entry in self._model.inputs for name in entry.names}
        if missing := sorted(set(INPUTS) - names):
            raise UnusableInputError(f"{path} has no input {missing[0]!r}: build the variant again")
        self._names = (*INPUTS, *(name for name in PLACES if name in names))
        self.about = About(callers=streams, prepares=True, unpads=self._names == INPUTS)
        self._offered = self._model.output(TOP_IDS).partial_shape[1].get_length()
        self._local = threading.local()

    @property
    def precision_hint(self) -> object:
        """The precision in which the compiled model computes where it is not 8-bit."""
        return self._model.get_property("INFERENCE_PRECISION_HINT")

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        request = self._run(batch)
        logits: Logits = request.get_tensor(MASK_LOGITS).data.copy()
        return logits

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the best tokens' ids and probabilities, each of shape (masks, top_k)."""
        if top_k > self._offered:
            return best_of(self.logits(batch), top_k)
        request = self._run(batch)
        ids, scores = (request.get_tensor(name).data[:, :top_k] for name in (TOP_IDS, TOP_SCORES))
        return ids.astype(np.int64), scores.copy()

    def _run(self, batch: Batch) -> openvino.InferRequest:
        """Run a batch in this thread's own request; its results stay until the next run."""
        request: openvino.InferRequest | None = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._model.create_infer_request()
        request.infer(feed(batch, self._names), share_inputs=True)
        return request


def sharing_engine(
    path: Path, digest: str, precision: str, kept: Path | None = None, cores: int = 0
) -> Engine:
    """Return an engine whose calls share the cores; what OpenVINO compiles is cached on disk.

    ``digest`` identifies the model.  ``kept`` is the folder where :func:`.find` found the cache.
    ``cores`` is how many are shared (0: all this process may use).  Raises UnusableInputError as
    :class:`OpenvinoEngine` does, NotPreparedError if the cache cannot be stored.
    """
    cores = cores or usable_cores()

    def write(folder: Path) -> None:
        OpenvinoEngine(path, cores, precision, folder)

    folder = kept or prepare(path, digest, OPENVINO.name, write)
    # Only a few widths: each compiled model has memory of its own.
    engines = {n: OpenvinoEngine(path, n, precision, folder) for n in widths(cores, step=4)}
    return SharingEngine(engines, folder, unpads=engines[1].about.unpads)


def _last_line(error: Exception) -> str:
    """Return the last line of an error (the lines before it name the library's source files)."""
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()
