"""OpenVINO's own counters: which products a compiled model has, and where its time goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import openvino
from numpy.typing import NDArray

from ...toolkit.building.manifest import read_manifest
from ...toolkit.engines.openvino_engine import OpenvinoEngine, read_asked
from ...toolkit.engines.text import Batch
from ...toolkit.files import read_json
from .kernels.multiplication import OPENVINO
from .kernels.rates import timed
from .operators import (
    ATTENTION,
    CASTS,
    GATHERS,
    GELU,
    NORMS,
    OTHER,
    PRODUCTS,
    QUANTIZE,
    RANKING,
    SUMS,
    Group,
)
from .subject import PROFILE_SECONDS, Profile, Subject, busy, calls_in, usual, with_floors
from .workload import BF16, FP16, FP32, INT8, Product, Workload, of_bert

PRECISIONS = {"f32": FP32, "bf16": BF16, "f16": FP16, "u8": INT8, "i8": INT8}
BYTES = {"f32": 4, "bf16": 2, "f16": 2, "u8": 1, "i8": 1, "i32": 4, "i64": 8}
FUSED = "fused element-wise operators"
KINDS = {
    PRODUCTS: ("FullyConnected",),
    ATTENTION: ("ScaledDotProductAttention", "MatMul", "MHA"),
    NORMS: ("MVN", "RMSNorm", "NormalizeL2"),
    GELU: ("Gelu", "Erf", "Tanh"),
    QUANTIZE: ("FakeQuantize",),
    CASTS: ("Convert", "Reorder"),
    SUMS: ("Eltwise", "Add", "Multiply", "Divide", "Subtract", "Abs"),
    GATHERS: ("Gather", "GatherND", "Transpose", "Reshape", "Concat", "Split", "StridedSlice",
              "VariadicSplit", "Broadcast", "ScatterNDUpdate", "Range", "ShapeOf"),
    RANKING: ("Softmax", "SoftMax", "TopK"),
    FUSED: ("Subgraph",),
}  # fmt: skip
GROUP_OF = {kind: group for group, kinds in KINDS.items() for kind in kinds}
ATTENDING = ("oftmax", "scaled_dot_product")  # in the names of layers that were fused
EXECUTED, MASK, CHOICE = "EXECUTED", "attention_mask", "NonZero"


@dataclass(frozen=True)
class Counted:
    """The products of a compiled model.

    If ``fused_attention``, those inside attention are missing.  If ``asked_only``, the last layer
    and the head are computed only at the masks.
    """

    products: Sequence[Product]
    fused_attention: bool
    asked_only: bool


class Compiled:
    """A model compiled again, for one shape, with the times of its operators.

    Args:
        path: the model's file.
        batch: the batch to run; its shape is compiled in, so the shape of every product is known.
        hint: the engine's precision hint.
        threads: threads for one call.

    """

    def __init__(self, path: Path, batch: Batch, hint: object, threads: int) -> None:
        core = openvino.Core()
        model = read_asked(path)
        self._asked_only = _fix_rows(model, batch)
        self._feed = {entry.any_name: getattr(batch, entry.any_name) for entry in model.inputs}
        for entry in model.inputs:
            kind = entry.element_type.to_dtype()
            self._feed[entry.any_name] = self._feed[entry.any_name].astype(kind)
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "ENABLE_CPU_PINNING": False,
                "PERF_COUNT": True,
            },
        )
        self._request = self._compiled.create_infer_request()
        self._nodes = {
            node.get_friendly_name(): {k: v.value for k, v in node.get_rt_info().items()}
            for node in self._compiled.get_runtime_model().get_ordered_ops()
        }

    def run(self) -> None:
        """Run the batch."""
        self._request.infer(self._feed)

    def count(self) -> Counted:
        """Return the products, from the shapes of the model as it was compiled."""
        products, attention = [], False
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            facts = self._nodes[node.get_friendly_name()]
            kind = facts.get("layerType")
            if kind == "FullyConnected":
                products.append(_dense(node, facts))
            elif kind in ("MatMul", "ScaledDotProductAttention"):
                attention = True
                products += _inside(node, facts, kind)
        return Counted(products, not attention, self._asked_only)

    def times(self) -> list[tuple[str, float]]:
        """Return the (group, milliseconds) of every operator of the last run."""
        return [
            (self._group(entry), entry.real_time.total_seconds() * 1000)
            for entry in self._request.get_profiling_info()
            if entry.status.name == EXECUTED
        ]

    def _group(self, entry: Any) -> str:
        group = GROUP_OF.get(entry.node_type, OTHER)
        if group == FUSED:
            merged = self._nodes.get(entry.node_name, {}).get("originalLayersNames", "")
            if any(word in merged for word in ATTENDING):
                return ATTENTION
        return group


def _fix_rows(model: openvino.Model, batch: Batch) -> bool:
    """Put into a model which rows a batch keeps, and tell whether it asks for those of the masks.

    A model that leaves padding out finds the rows to keep in the attention mask, and those of the
    masks in the ids: computed in the model, the shapes of its products would stay open.
    """
    for parameter in model.get_parameters():
        if parameter.output(0).any_name == MASK:
            kept = openvino.op.Constant(_as(batch.attention_mask, parameter))
            parameter.output(0).replace(kept.output(0))
            model.remove_parameter(parameter)
    shapes = {entry.any_name: getattr(batch, entry.any_name).shape for entry in model.inputs}
    model.reshape({name: list(shape) for name, shape in shapes.items()})
    open_ones = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == CHOICE and node.output(0).get_partial_shape().is_dynamic
    ]
    for node in open_ones:
        asked = openvino.op.Constant(_as(np.stack([batch.rows, batch.columns]), node))
        node.output(0).replace(asked.output(0))
    model.validate_nodes_and_infer_types()
    return bool(open_ones) or "rows" in shapes


def _as(values: NDArray[Any], node: Any) -> NDArray[Any]:
    return values.astype(node.get_element_type().to_dtype())


def _shape(port: Any) -> tuple[int, ...]:
    return tuple(axis.get_length() for axis in port.get_partial_shape())


def _dense(node: Any, facts: Mapping[str, str]) -> Product:
    left, output = _shape(node.input(0)), _shape(node.output(0))
    kind = facts["runtimePrecision"]
    # 8-bit weights are multiplied as they are; others are converted to the precision in use.
    weight = prod(_shape(node.input(1))) * BYTES.get(kind, 4)
    return Product(
        PRECISIONS.get(kind, FP32), prod(output[:-1]), left[-1], output[-1], weight_bytes=weight
    )


def _inside(node: Any, facts: Mapping[str, str], kind: str) -> list[Product]:
    precision = PRECISIONS.get(facts["runtimePrecision"], FP32)
    left, output = _shape(node.input(0)), _shape(node.output(0))
    if kind == "MatMul":
        inner = prod(left) * output[-1] // prod(output)
        return [Product(precision, output[-2], inner, output[-1], prod(output[:-2]), inside=True)]
    tokens, count = _shape(node.input(1))[-2], prod(left[:-2])
    return [
        Product(precision, left[-2], left[-1], tokens, count, inside=True),
        Product(precision, left[-2], tokens, output[-1], count, inside=True),
    ]


def groups(compiled: Compiled, times: int, between: Callable[[], None]) -> list[Group]:
    """Return the median time of one call by kind of operator, over so many runs.

    ``between`` is called before every run.
    """
    spent: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for _ in range(times):
        between()
        compiled.run()
        run = compiled.times()
        for group in {name for name, _ in run}:
            own = [ms for name, ms in run if name == group]
            spent.setdefault(group, []).append(sum(own))
            counts[group] = len(own)
    return [
        Group(name, counts[name], float(np.median(times_ms))) for name, times_ms in spent.items()
    ]


class OpenvinoSubject(Subject):
    """OpenVINO: products are those of the compiled model, times are those of its counters."""

    library = OPENVINO

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        self._config = read_json(folder / "config.json")

    def _compiled(self, batch: Batch, threads: int) -> Compiled:
        path = self.folder / read_manifest(self.folder).recipe.file
        engine = cast(OpenvinoEngine, self.predictor(threads).engine)
        return Compiled(path, batch, engine.precision_hint, threads)

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from the shapes of the compiled model."""
        rows, length = batch.input_ids.shape
        counted = self._compiled(batch, 1).count()
        products = list(counted.products)
        if counted.fused_attention:
            products += _attending(self._config, length, rows, counted.asked_only)
        return Workload(length, rows, products)

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, by kind of operator."""
        plain, times = self.call(batch, threads), []
        compiled = self._compiled(batch, threads)
        with busy(plain, streams - 1, lambda: self.prepare(threads)):
            count = calls_in(PROFILE_SECONDS, plain)
            measured = groups(compiled, count, lambda: times.append(timed(plain)))
        rows, length = batch.input_ids.shape
        kinds = with_floors(measured, self.workload(batch).products, giga)
        return Profile(length, rows, threads, streams, usual(times), kinds)


def _attending(
    config: Mapping[str, Any], length: int, batch: int, asked_only: bool
) -> list[Product]:
    """Return the products inside fused attention, which no graph shows, by config.json's sizes."""
    inside = [p for p in of_bert(config, length, batch, FP32) if p.inside]
    if asked_only:  # the last layer computes one position per sentence
        inside[-2:] = [replace(inside[-2], rows=1), replace(inside[-1], rows=1)]
    return inside
