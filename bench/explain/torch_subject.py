"""PyTorch's operators: which products they compute, and where the time goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from ...toolkit.engines.predictor import Predictor
from ...toolkit.engines.text import Batch
from .kernels.multiplication import TORCH
from .kernels.rates import timed
from .operators import ATTENTION, CASTS, GATHERS, GELU, NORMS, OTHER, PRODUCTS, RANKING, SUMS, Group
from .subject import PROFILE_SECONDS, Profile, Subject, busy, calls_in, usual, with_floors
from .workload import BF16, FP16, FP32, INT8, Product, Workload

PRECISIONS = {torch.float32: FP32, torch.bfloat16: BF16, torch.float16: FP16, torch.int8: INT8}
KINDS = {
    PRODUCTS: ("addmm", "mm", "linear", "mkldnn_linear", "mkl_linear"),
    ATTENTION: ("scaled_dot_product", "_scaled_dot_product", "bmm", "baddbmm"),
    NORMS: ("native_layer_norm", "layer_norm"),
    GELU: ("gelu", "relu", "tanh", "erf"),
    CASTS: ("_to_copy", "to"),
    SUMS: ("add", "sub", "mul", "div"),
    RANKING: ("softmax", "_softmax", "topk"),
    GATHERS: (
        "index", "index_select", "embedding", "view", "reshape", "transpose", "t", "slice",
        "select", "expand", "as_strided", "copy_", "empty", "clone", "contiguous", "permute",
    ),
}  # fmt: skip
ATTENDING = "scaled_dot_product"


class ProductRecorder(TorchDispatchMode):
    """Records every product of matrices that PyTorch runs while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []
        self.activation_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.products += products(name, args)
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        if isinstance(result, torch.Tensor) and not result._is_view():
            self.activation_bytes += sum(_bytes(tensor) for tensor in [result, *tensors[:1]])
        return result


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def products(name: str, args: Sequence[Any]) -> list[Product]:
    """Return what one PyTorch operator multiplies, from its name and arguments."""
    match name:
        case "addmm" | "mm":
            left, right = args[1:3] if name == "addmm" else args[:2]
            return [_dense(left, right, right.shape[1])]
        case "linear":
            return [_dense(args[0], args[1], args[1].shape[0])]
        case "bmm":
            left, right = args[:2]
            count, rows, inner = left.shape
            precision = PRECISIONS.get(left.dtype, FP32)
            return [Product(precision, rows, inner, right.shape[2], count, inside=True)]
    if ATTENDING in name:
        query, key, value = args[:3]
        count, rows, tokens = prod(query.shape[:-2]), query.shape[-2], key.shape[-2]
        kind = PRECISIONS.get(query.dtype, FP32)
        return [
            Product(kind, rows, query.shape[-1], tokens, count, inside=True),
            Product(kind, rows, tokens, value.shape[-1], count, inside=True),
        ]
    return []


def _dense(left: torch.Tensor, right: torch.Tensor, columns: int) -> Product:
    inner = left.shape[-1]
    rows = left.numel() // inner
    kind = PRECISIONS.get(left.dtype, FP32)
    return Product(kind, rows, inner, columns, weight_bytes=_bytes(right))


def recorded(call: Callable[[], object]) -> ProductRecorder:
    """Run a call and return the record of its products."""
    recorder = ProductRecorder()
    with recorder:
        call()
    return recorder


def groups(call: Callable[[], object], times: int) -> tuple[list[Group], float]:
    """Return the milliseconds of one call by kind of operator, and their sum."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(times):
            call()
    counts: dict[str, int] = {}
    spent: dict[str, float] = {}
    for entry in profiler.key_averages():
        if not entry.key.startswith("aten::"):
            continue
        group = _group(entry.key.removeprefix("aten::"))
        counts[group] = counts.get(group, 0) + entry.count // times
        spent[group] = spent.get(group, 0.0) + entry.self_cpu_time_total / 1000 / times
    return [Group(name, counts[name], spent[name]) for name in spent], sum(spent.values())


def _group(name: str) -> str:
    for group, names in KINDS.items():
        if name in names or any(ATTENDING in name and ATTENDING in other for other in names):
            return group
    return OTHER


class TorchSubject(Subject):
    """PyTorch: products are counted as it dispatches them, times are those of its profiler."""

    library = TORCH

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else its profiler prints to the terminal

    def predictor(self, threads: int) -> Predictor:
        """Return the only predictor: PyTorch's threads are set per process, not per model."""
        return super().predictor(1)

    def prepare(self, threads: int) -> None:
        """Set PyTorch's number of threads."""
        import torch

        torch.set_num_threads(threads)

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from what PyTorch dispatches."""
        rows, length = batch.input_ids.shape
        record = recorded(self.call(batch, 1))
        return Workload(length, rows, record.products, record.activation_bytes)

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return the number of threads that the environment sets for OpenMP."""
        threads = os.environ.get("OMP_NUM_THREADS", "")
        return {"environment_threads": int(threads) if threads.isdecimal() else None}

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, by kind of operator."""
        self.prepare(threads)
        plain = self.call(batch, threads)
        with busy(plain, streams - 1, lambda: self.prepare(threads)):
            count = calls_in(PROFILE_SECONDS / 2, plain)
            times = [timed(plain) for _ in range(count)]
            measured, _ = groups(plain, count)
        rows, length = batch.input_ids.shape
        kinds = with_floors(measured, self.workload(batch).products, giga)
        return Profile(length, rows, threads, streams, usual(times), kinds)
