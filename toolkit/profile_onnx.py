"""ONNX Runtime's own profile: which operators ran, on what shapes, for how long."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import onnxruntime

from .engines.onnx_engine import MASK_LOGITS, TOP_IDS, TOP_SCORES
from .engines.text import Batch
from .operators import Operator
from .stats import middle_half

RUN, NODE, KERNEL = "model_run", "Node", "_kernel_time"
PACKED_PRODUCT, INT8_LEVEL = "MatMulNBits", 4


class Profiled:
    """A session that writes down every operator it runs, to a file in ``scratch``.

    Args:
        path: the ONNX file.
        scratch: a folder for the profile.
        threads: threads for one call.
        whole_shapes: keep the weights as they are, so that their shapes are in the profile too
            (packed for a kernel they are left out).  Its times are not those of a usual session.

    """

    def __init__(self, path: Path, scratch: Path, threads: int, whole_shapes: bool = False) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(scratch / f"profile-{threads}-{int(whole_shapes)}")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.disable_prepacking", str(int(whole_shapes)))
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = [entry.name for entry in self._session.get_inputs()]
        outputs = [entry.name for entry in self._session.get_outputs()]
        asked = [name for name in (TOP_SCORES, TOP_IDS) if name in outputs]
        # The same as the engine asks for.
        self._outputs = asked or [MASK_LOGITS if MASK_LOGITS in outputs else outputs[0]]
        self._runs: list[list[Operator]] | None = None

    def __enter__(self) -> Profiled:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.runs()

    def run(self, batch: Batch) -> None:
        """Run one batch."""
        self._session.run(self._outputs, {name: getattr(batch, name) for name in self._inputs})

    def runs(self) -> list[list[Operator]]:
        """End profiling and return the operators of every run, in the order they ran."""
        if self._runs is None:
            file = Path(self._session.end_profiling())
            self._runs = list(_runs(json.loads(file.read_text(encoding="utf-8"))))
            file.unlink()
        return self._runs


def _runs(events: Sequence[Mapping[str, Any]]) -> Iterator[list[Operator]]:
    """Yield the operators of each run: a run's event follows those of its operators."""
    run: list[Operator] = []
    for event in events:
        if event["cat"] == NODE and event["name"].endswith(KERNEL):
            run.append(_operator(event))
        elif event["name"] == RUN:
            yield run
            run = []


def _operator(event: Mapping[str, Any]) -> Operator:
    facts = event["args"]
    return Operator(
        name=event["name"].removesuffix(KERNEL),
        kind=facts["op_name"],
        inputs=_tensors(facts.get("input_type_shape", [])),
        outputs=_tensors(facts.get("output_type_shape", [])),
        parameter_bytes=int(facts.get("parameter_size", 0)),
        activation_bytes=int(facts.get("activation_size", 0)),
        ms=event["dur"] / 1000,
    )


def _tensors(entries: Sequence[Mapping[str, Sequence[int]]]) -> list[tuple[str, tuple[int, ...]]]:
    return [(kind, tuple(shape)) for entry in entries for kind, shape in entry.items()]


def typical(runs: Sequence[Sequence[Operator]]) -> tuple[list[Operator], float]:
    """Return one run with the usual time of every operator, and what the profiler cost it.

    A time is the mean over the half of the runs that took neither long nor short in all: operators
    then add up to what a usual run takes.  Writing an operator down takes some microseconds that
    are counted as its own.  The quickest operators only pass on a shape: what they seem to take is
    that cost, and is taken off all.
    """
    times = np.array([[each.ms for each in run] for run in runs])
    means = times[middle_half(times.sum(axis=1))].mean(axis=0)
    cost = float(means.min()) if len(means) else 0.0
    run = [replace(each, ms=float(ms) - cost) for each, ms in zip(runs[0], means, strict=True)]
    return run, cost * len(run)


def packed_in_eight_bits(path: Path) -> bool:
    """Tell whether a graph's products with packed weights (MatMulNBits) are computed in 8 bits."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    levels = [
        attribute.i
        for node in graph.node
        if node.op_type == PACKED_PRODUCT
        for attribute in node.attribute
        if attribute.name == "accuracy_level"
    ]
    return bool(levels) and all(level == INT8_LEVEL for level in levels)
