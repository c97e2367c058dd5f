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

from ...toolkit.building.manifest import read_manifest
from ...toolkit.engines.onnx_engine import feed
from ...toolkit.engines.text import Batch
from ...toolkit.errors import UnusableInputError
from ...toolkit.machine import cache_bytes
from ...toolkit.stats import middle_half
from .kernels.rates import timed
from .levels import Level, measure_levels, usual_ends
from .operators import (
    ATTENTION,
    GROUPS,
    PRODUCTS,
    Group,
    Operator,
    casts,
    graph_facts,
    products,
    workload,
)
from .subject import (
    INSIDE,
    PROFILE_SECONDS,
    PROJECTIONS,
    Profile,
    Subject,
    busy,
    calls_in,
    usual,
)
from .workload import Product, Workload, compute_ms

RUN, NODE, KERNEL = "model_run", "Node", "_kernel_time"
PACKED_PRODUCT, INT8_LEVEL = "MatMulNBits", 4


class Profiled:
    """A session that records every operator it runs in a file in ``scratch``.

    Args:
        path: the ONNX file.
        scratch: a folder for the profile.
        threads: threads for one call.
        whole_shapes: do not pack the weights, so that the profile has their shapes too (it leaves
            out packed weights).  The times are then not those of a usual session.

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
        self._inputs, self._outputs = usual_ends(self._session)
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
        self._session.run(self._outputs, feed(batch, self._inputs))

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
    """Return one run with the usual time of every operator, and the profiler's cost in that run.

    A time is the mean over the middle half of the runs, by their total time: operators then add up
    to the time of a usual run.  Recording an operator takes some microseconds, which the profile
    counts as the operator's.  The quickest operators only pass on a shape, so their time is this
    cost; it is subtracted from every operator.
    """
    times = np.array([[operator.ms for operator in run] for run in runs])
    means = times[middle_half(times.sum(axis=1))].mean(axis=0)
    cost = float(means.min()) if len(means) else 0.0
    pairs = zip(runs[0], means, strict=True)
    run = [replace(operator, ms=float(ms) - cost) for operator, ms in pairs]
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


class OnnxSubject(Subject):
    """An ONNX graph: counted and profiled operator by operator, by ONNX Runtime itself."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        self.path = folder / read_manifest(folder).recipe.file
        self._counting = Profiled(self.path, scratch, 1, whole_shapes=True)
        self._counted: list[list[Operator]] | None = None
        self._shapes: list[tuple[int, int]] = []
        self._eight_bits = packed_in_eight_bits(self.path)

    def count(self, batches: Sequence[Batch]) -> None:
        """Run batches once and record all shapes, from which :meth:`workload` counts."""
        for batch in batches:
            if _shape(batch) not in self._shapes:
                self._shapes.append(_shape(batch))
                self._counting.run(batch)
        self._counted = self._counting.runs()

    def run_of(self, batch: Batch) -> list[Operator]:
        """Return the operators of one run, weights' shapes included."""
        if self._counted is None or _shape(batch) not in self._shapes:
            raise UnusableInputError("this batch has not been counted")
        return self._counted[self._shapes.index(_shape(batch))]

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from the shapes of the graph as it ran."""
        rows, length = batch.input_ids.shape
        return workload(self.run_of(batch), length, rows, cache_bytes(), self._eight_bits)

    def levels(self, batch: Batch) -> list[Level]:
        """Return the time of a batch at each of ONNX Runtime's optimization levels."""
        return measure_levels(self.path, batch)

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return facts of the graph as ONNX Runtime optimized it at load."""
        run = self.run_of(batch)
        self.casts = casts(run)
        return graph_facts(run)

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, by kind of operator."""
        plain, times = self.call(batch, threads), []
        with (
            Profiled(self.path, self.scratch, threads) as profiled,
            busy(plain, streams - 1, lambda: self.prepare(threads)),
        ):
            for _ in range(calls_in(PROFILE_SECONDS, plain)):
                times.append(timed(plain))
                profiled.run(batch)
        run, cost = typical(profiled.runs())
        work = [products(operator, self._eight_bits) for operator in self.run_of(batch)]
        rows, length = batch.input_ids.shape
        groups = _groups(run, work, giga)
        return Profile(length, rows, threads, streams, usual(times), groups, cost)


def _shape(batch: Batch) -> tuple[int, int]:
    rows, length = batch.input_ids.shape
    return rows, length


def _groups(
    run: Sequence[Operator], work: Sequence[Sequence[Product]], giga: Mapping[str, float]
) -> list[Group]:
    """Return operators by kind, with the floor of their products."""
    names = [operator.group for operator in run]
    groups: list[Group] = []
    for name in [kind for kind in GROUPS if kind in names]:
        places = [place for place, group in enumerate(names) if group == name]
        multiplied = [product for place in places for product in work[place]]
        spent = sum(run[place].ms for place in places)
        groups.append(Group(name, len(places), spent, compute_ms(multiplied, giga)))
        if name == ATTENTION and groups[0].name == PRODUCTS:
            groups[-1:] = _split(groups[-1], groups[0], multiplied, giga)
    return groups


def _split(
    attention: Group, others: Group, multiplied: Sequence[Product], giga: Mapping[str, float]
) -> list[Group]:
    """Split fused attention into its projections and the rest.

    This assumes that the projections run as close to the ceiling as the other products do.
    """
    projections = [product for product in multiplied if not product.inside]
    if not projections or not others.floor_ms:
        return [attention]
    floor = compute_ms(projections, giga)
    spent = min(attention.ms, floor * others.ms / others.floor_ms)
    return [
        Group(PROJECTIONS, len(projections), spent, floor),
        Group(INSIDE, attention.operators, attention.ms - spent, attention.floor_ms - floor),
    ]
