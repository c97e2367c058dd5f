"""The ONNX Runtime engine (CPU)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from ..errors import UnusableInputError
from ..machine import usable_cores
from .kinds import ONNXRUNTIME, Threads, VariantFiles
from .predictor import Best, Engine, Logits, best_of
from .prepared import prepare
from .sharing import SharingEngine, widths
from .text import Batch, Ids

LOGITS = "logits"
MASK_LOGITS, TOP_SCORES, TOP_IDS = "mask_logits", "top_scores", "top_ids"
NEEDED, SPARE = ("input_ids", "attention_mask"), ("token_type_ids",)
POSITION_IDS = "position_ids"
OF_TOKENIZER = (*NEEDED, *SPARE)
INPUTS = (*OF_TOKENIZER, POSITION_IDS)
PREPARED, UNPADDED = "model.onnx", "unpadded.onnx"
SPIN_US = 50  # 30 to 300 measured the same (docs/performance.md)
TYPES = {
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32,
    "tensor(bool)": np.bool_,
}  # fmt: skip


def open_engine(files: VariantFiles, threads: Threads) -> Engine:
    """Return the engine of a variant; raises as :class:`OnnxEngine`, :func:`sharing_engine` do."""
    if threads.share:
        return sharing_engine(files.path, files.digest, files.kept, threads.cores)
    return OnnxEngine(files.path, threads.each, spin=threads.spin)


class OnnxEngine(Engine):
    """Runs an ONNX masked LM with the usual inputs.

    Inputs are ``input_ids``, ``attention_mask`` and, if the graph takes them, ``token_type_ids``
    and ``position_ids`` (counted up from 0), of shape (sentences, tokens), of any type in
    ``TYPES``.  An axis may be fixed: sentences then run in groups of that size, padded to that
    length; copies of its last sentence fill a group.  The output is ``logits`` (or any name, if
    there is only one output), of shape (sentences, tokens, vocabulary), or the outputs of a
    rewritten graph (see rewrites.py).

    One session serves any number of callers at once.  By default its threads do not spin while they
    wait: spinning threads take the cores from other callers and from other programs.

    Args:
        path: the ONNX file.
        threads: threads for one call (0: all cores this process may use).
        spin: whether threads without work spin (busy-wait).
        spin_us: the longest time they spin, in microseconds (None: ONNX Runtime's default).

    Raises UnusableInputError if ONNX Runtime refuses the file, or if its inputs or outputs are not
    those above.

    """

    def __init__(
        self, path: Path, threads: int = 0, *, spin: bool = False, spin_us: int | None = None
    ) -> None:
        self._session = _session(path, _options(threads or usable_cores(), spin, spin_us))
        self._outputs = {entry.name: entry.shape for entry in self._session.get_outputs()}
        self._inputs = self._input_types(path)
        self._output = self._usual_output(path)
        ids = next(e for e in self._session.get_inputs() if e.name == INPUTS[0])
        if len(ids.shape) != 2:
            raise UnusableInputError(f"{path}: its {ids.name} have {len(ids.shape)} axes, not 2")
        sentences, tokens = (size if isinstance(size, int) else None for size in ids.shape)
        self._fixed = sentences, tokens

    def _input_types(self, path: Path) -> dict[str, Any]:
        input_types = {entry.name: entry.type for entry in self._session.get_inputs()}
        for name, kind in input_types.items():
            if name.startswith("past_key_values"):
                raise UnusableInputError(
                    f"{path} is a decoder (it takes {name!r}), which sees only the words before a"
                    " blank: name a masked language model"
                )
            if name not in INPUTS:
                raise UnusableInputError(
                    f"{path} has an unknown input {name!r}: {', '.join(INPUTS)} are given"
                )
            if kind not in TYPES:
                raise UnusableInputError(f"{path} takes {name!r} as {kind}, not as whole numbers")
        for name in NEEDED:
            if name not in input_types:
                raise UnusableInputError(
                    f"{path} has no input {name!r}: export it with {' and '.join(NEEDED)}"
                )
        return {name: TYPES[kind] for name, kind in input_types.items()}

    def _usual_output(self, path: Path) -> str:
        """Return the name of the output with a row of logits for every token, or every mask."""
        if MASK_LOGITS in self._outputs and LOGITS not in self._outputs:
            return MASK_LOGITS
        if LOGITS not in self._outputs and len(self._outputs) > 1:
            raise UnusableInputError(
                f"{path} has the outputs {', '.join(self._outputs)}: name the one with the scores"
                " by --output"
            )
        name = LOGITS if LOGITS in self._outputs else next(iter(self._outputs))
        if len(self._outputs[name] or (0, 0, 0)) != 3:  # a shape may be missing
            raise UnusableInputError(
                f"{path}: its output {name!r} has {len(self._outputs[name])} axes, not 3"
                " (sentences, tokens, vocabulary): name a masked language model"
            )
        return name

    @property
    def inputs(self) -> list[str]:
        """The names of the graph's inputs."""
        return list(self._inputs)

    @property
    def tokenizer_inputs(self) -> list[str]:
        """The names of the inputs that a tokenizer gives."""
        return [name for name in self._inputs if name in OF_TOKENIZER]

    @property
    def tokens(self) -> int | None:
        """The length every sentence is padded to, if the graph fixes one."""
        return self._fixed[1]

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        if MASK_LOGITS in self._outputs:
            (picked,) = self._run([MASK_LOGITS], batch)
        else:
            full = [self._run([self._output], part)[0] for part in self._parts(batch)]
            every_token = full[0] if len(full) == 1 else np.concatenate(full)
            picked = every_token[batch.rows, batch.columns]
        logits: Logits = picked.astype(np.float32, copy=False)
        return logits

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the best tokens' ids and probabilities, each of shape (masks, top_k)."""
        if top_k > self._outputs.get(TOP_IDS, (0, 0))[1]:
            return best_of(self.logits(batch), top_k)
        scores, ids = self._run([TOP_SCORES, TOP_IDS], batch)
        return ids[:, :top_k], scores[:, :top_k]

    def _run(self, outputs: list[str], batch: Batch) -> list[NDArray[Any]]:
        arrays: list[NDArray[Any]] = self._session.run(outputs, feed(batch, self._inputs))
        return arrays

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch unchanged, or in parts of the graph's shape if an axis is fixed."""
        sentences, tokens = self._fixed
        if (sentences or len(batch.input_ids), tokens or 0) == (len(batch.input_ids), 0):
            yield batch
            return
        count = sentences or len(batch.input_ids)
        for begin in range(0, len(batch.input_ids), count):
            arrays = {
                name: _padded(getattr(batch, name)[begin : begin + count], count, tokens)
                for name in OF_TOKENIZER
            }
            yield replace(batch, **arrays)


def feed(batch: Batch, types: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return a batch as a session takes it: an array of shape (sentences, tokens) for each input.

    ``types`` maps the graph's inputs to their NumPy types (None: int64, as they are).
    """
    arrays = {name: getattr(batch, name) for name in types if name != POSITION_IDS}
    if POSITION_IDS in types:
        shape = batch.input_ids.shape
        arrays[POSITION_IDS] = np.broadcast_to(np.arange(shape[1]), shape)
    return {n: arrays[n].astype(kind or np.int64, copy=False) for n, kind in types.items()}


def sharing_engine(path: Path, digest: str, kept: Path | None = None, cores: int = 0) -> Engine:
    """Return an engine whose calls share the cores; all its sessions map the same packed weights.

    ``digest`` identifies the model.  ``kept`` is the folder where :func:`.find` found its packed
    weights; then nothing else is read.  ``cores`` is how many are shared (0: all this process may
    use).  Raises UnusableInputError as :class:`OnnxEngine` does, NotPreparedError if packed weights
    cannot be stored.
    """
    cores = cores or usable_cores()
    folder = kept or prepare(path, digest, ONNXRUNTIME.name, partial(_write_prepared, path))
    shared = UNPADDED if (folder / UNPADDED).exists() else PREPARED

    def of(width: int) -> OnnxEngine:
        if width == 1 or width < cores:
            return OnnxEngine(folder / shared, width)
        # The only call: usually one sentence, without padding.  Spinning disturbs no other call.
        return OnnxEngine(folder / PREPARED, width, spin=True, spin_us=SPIN_US)

    with ThreadPoolExecutor() as opening:
        engines = dict(zip(widths(cores), opening.map(of, widths(cores)), strict=True))
    return SharingEngine(engines, folder, unpads=shared == UNPADDED)


def _write_prepared(path: Path, folder: Path) -> None:
    """Have ONNX Runtime write the model with packed weights, which sessions map into memory."""
    options = _options(1)
    options.optimized_model_filepath = str(folder / PREPARED)
    for key, value in {
        "session.optimized_model_external_initializers_file_name": "weights.bin",
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        "session.save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(key, value)
    session = _session(path, options)
    if {LOGITS, MASK_LOGITS} <= {output.name for output in session.get_outputs()}:
        # Imported here: protobuf takes time to import.
        from .graph_bytes import without_output
        from .unpadding import unpadded

        # LOGITS has a row of vocabulary size for every token; only the rows at masks are read.
        model = without_output((folder / PREPARED).read_bytes(), LOGITS)
        (folder / PREPARED).write_bytes(model)
        if graph := unpadded(model):
            (folder / UNPADDED).write_bytes(graph)


def _options(threads: int, spin: bool = False, spin_us: int | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    if spin_us is not None:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin_us))
    options.log_severity_level = 3
    return options


def _session(path: Path, options: Any) -> Any:
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's errors share no public base class
        raise UnusableInputError(
            f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}"
        ) from None


def _padded(ids: Ids, sentences: int, tokens: int | None) -> Ids:
    """Return an array padded to so many sentences and tokens.

    Tokens are padded with zeros (attention mask 0), sentences with copies of the last one: a
    sentence of nothing but padding can give scores that are no numbers, and in a graph with dynamic
    scales these spoil its neighbours.
    """
    more = (tokens or ids.shape[1]) - ids.shape[1]
    return np.pad(np.pad(ids, ((0, 0), (0, more))), ((0, sentences - len(ids)), (0, 0)), "edge")
