"""The ceilings of this machine: the best rates that the engines' own kernels reach on it.

The ceiling of matrix products is measured with the engines' own kernels, on the weight shapes of
the explained model.  There are many rows (a large batch), so that the time to load weights or to
start threads is negligible.  First every kernel, shape and use of the cores is tried once.  Then
the best ones are measured again in every round, in turns with the calls that are compared with
them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ...toolkit.engines.outputs import CONTRIB
from ...toolkit.files import MEBIBYTE
from ...toolkit.machine import BF16_FLAGS, cache_bytes
from .workload import BF16, FP32, INT8, OPERATIONS_A_PAIR

Call = Callable[[], object]
Shape = tuple[int, int]
"""The shape of a weight matrix: (inner, columns)."""
Kernels = Mapping[str, Sequence[str]]
"""The precisions to measure, by library."""

ROWS = (256, 1024)
TRY_SECONDS, CELL_SECONDS = 0.015, 0.06
KEPT = 2  # cells of a precision measured in every round: the best may be the best by chance
LARGEST_SHAPES = 3
LEAST_ARRAY, CACHES = 256 * MEBIBYTE, 4  # an array must be several times the last-level cache

ONNXRUNTIME, TORCH, OPENVINO = "onnxruntime", "torch", "openvino"


@dataclass(frozen=True)
class Multiplication:
    """One way to multiply: a library's kernel, a shape, and ``callers`` with ``threads`` each."""

    precision: str
    library: str
    form: str
    rows: int
    inner: int
    columns: int
    callers: int
    threads: int

    @property
    def giga(self) -> float:
        """Operations of one call, in 10^9."""
        return OPERATIONS_A_PAIR * self.rows * self.inner * self.columns / 1e9

    @property
    def words(self) -> str:
        """The cell in a few words."""
        return (
            f"{self.library} {self.form}, {self.rows} x {self.inner} x {self.columns},"
            f" {self.callers} x {self.threads} threads"
        )


@dataclass
class Ceiling:
    """The best rates reached at one precision on a number of cores.

    ``rates`` has the best of each round (10^9 operations a second); ``cell`` is the multiplication
    with the best rate of all.
    """

    precision: str
    cores: int
    cell: Multiplication
    rates: list[float] = field(default_factory=list)

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.rates))

    def as_json(self) -> dict[str, Any]:
        """Return the ceiling as a JSON object."""
        return {
            "precision": self.precision,
            "cores": self.cores,
            "giga_per_second": self.typical,
            "best_giga_per_second": max(self.rates),
            "kernel": self.cell.words,
        }


@dataclass
class Bandwidth:
    """How fast so many threads read or copy memory: 10^9 bytes a second, for each round."""

    cores: int
    array_bytes: int
    rates: list[float] = field(default_factory=list)

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.rates))

    def as_json(self) -> dict[str, Any]:
        """Return the bandwidth as a JSON object."""
        return {
            "cores": self.cores,
            "gigabytes_per_second": self.typical,
            "best_gigabytes_per_second": max(self.rates),
            "array_bytes": self.array_bytes,
        }


class Ceilings:
    """Measures the ceilings, one round at a time.

    Args:
        shapes: shapes of the model's weights, those with the most operations first.
        cores: the numbers of cores to measure with.
        kernels: the precisions to measure for each of ``onnxruntime``, ``torch``, ``openvino``.
        isa: instruction sets of this CPU, as the fingerprint names them.

    ``best`` has the ceilings by precision and cores; ``missing`` says by precision why it could
    not be measured.

    """

    def __init__(
        self, shapes: Sequence[Shape], cores: Collection[int], kernels: Kernels, isa: Sequence[str]
    ) -> None:
        self.missing: dict[str, str] = {}
        self._cells = _cells(shapes[:LARGEST_SHAPES], cores, kernels, isa)
        self._calls: dict[Multiplication, list[Call]] = {}
        if all(cell.precision != BF16 for cell in self._cells):
            self.missing[BF16] = _why_no_bf16(isa)
        self.best: dict[tuple[str, int], Ceiling] = {}
        self._kept: dict[tuple[str, int], list[Multiplication]] = {}
        self._try_all()
        self.bandwidths = [Bandwidth(n, _array_bytes()) for n in sorted(cores)]
        self._arrays = np.ones((2, _array_bytes() // 8), np.float32)

    def _try_all(self) -> None:
        tried: dict[tuple[str, int], list[tuple[float, Multiplication]]] = {}
        for cell in self._cells:
            rate = self._rate(cell, TRY_SECONDS)
            tried.setdefault((cell.precision, cell.callers * cell.threads), []).append((rate, cell))
            del self._calls[cell]  # dozens are tried; memory is needed only for the best
        for key, rates in tried.items():
            rates.sort(key=lambda entry: -entry[0])
            self._kept[key] = [cell for _, cell in rates[:KEPT]]
            self.best[key] = Ceiling(*key, cell=rates[0][1])

    def measure(self) -> None:
        """Measure one round of all ceilings and bandwidths."""
        for key, cells in self._kept.items():
            rates = [(self._rate(cell, CELL_SECONDS), cell) for cell in cells]
            rate, cell = max(rates, key=lambda entry: entry[0])
            ceiling = self.best[key]
            if not ceiling.rates or rate > max(ceiling.rates):
                ceiling.cell = cell
            ceiling.rates.append(rate)
        for bandwidth in self.bandwidths:
            bandwidth.rates.append(_bandwidth(self._arrays, bandwidth.cores))

    def giga(self, cores: int, which: int | None = None) -> dict[str, float]:
        """Return the ceilings by precision: of round ``which``, or (None) the typical ones."""
        return {
            precision: ceiling.typical if which is None else ceiling.rates[which]
            for (precision, used), ceiling in self.best.items()
            if used == cores
        }

    def gigabytes(self, cores: int, which: int | None = None) -> float:
        """Return the bandwidth: of round ``which``, or (None) the typical one."""
        bandwidth = next(b for b in self.bandwidths if b.cores == cores)
        return bandwidth.typical if which is None else bandwidth.rates[which]

    def _rate(self, cell: Multiplication, seconds: float) -> float:
        if cell not in self._calls:
            self._calls[cell] = OPENERS[cell.library](cell)
        return cell.giga * calls_per_second(self._calls[cell], seconds, lambda: _prepare(cell))


def calls_per_second(
    calls: Sequence[Call], seconds: float, prepare: Callable[[], None] = lambda: None
) -> float:
    """Return how many calls a second are made in total, each call repeated in its own thread.

    A single call is repeated in this thread.  Every thread makes one call before the clock starts.
    """
    if len(calls) == 1:
        prepare()
        calls[0]()
        return _repeat(calls[0], seconds)
    ready = threading.Barrier(len(calls))

    def work(call: Call) -> float:
        try:
            prepare()
            call()
        except BaseException:
            ready.abort()  # otherwise the other threads would wait for ever
            raise
        ready.wait()
        return _repeat(call, seconds)

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(work, call) for call in calls]
    errors = [error for each in futures if (error := each.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return sum(each.result() for each in futures)


def _repeat(call: Call, seconds: float) -> float:
    begun, count = time.perf_counter(), 0
    while True:
        call()
        count += 1
        passed = time.perf_counter() - begun
        if passed >= seconds:
            return count / passed


def _cells(
    shapes: Sequence[Shape], cores: Collection[int], kernels: Kernels, isa: Sequence[str]
) -> list[Multiplication]:
    uses = sorted({use for number in cores for use in ((1, number), (number, 1))})
    return [
        Multiplication(precision, library, form, rows, *shape, *use)
        for library, precisions in kernels.items()
        for precision, form in _forms(library, isa)
        if precision in precisions
        for shape in shapes
        for rows in ROWS
        for use in uses
    ]


def _forms(library: str, isa: Sequence[str]) -> list[tuple[str, str]]:
    bf16 = bool(BF16_FLAGS & set(isa))
    if library == ONNXRUNTIME:
        return [(FP32, "MatMul"), (INT8, "MatMulInteger"), (INT8, "MatMulIntegerToFloat")]
    if library == TORCH:
        return [(FP32, "mm"), *([(BF16, "mm")] if bf16 else [])]
    return [(FP32, "MatMul"), (INT8, "MatMul"), *([(BF16, "MatMul")] if bf16 else [])]


def _why_no_bf16(isa: Sequence[str]) -> str:
    if not BF16_FLAGS & set(isa):
        return "this CPU has no BF16 instructions"
    return "needs torch or openvino: pip install 'tiankong[build]'"


def installed(library: str) -> bool:
    """Tell whether a library is installed, without importing it."""
    return find_spec(library) is not None


def _prepare(cell: Multiplication) -> None:
    """Set PyTorch's number of threads, which is a setting of the calling thread, not of a call."""
    if cell.library == TORCH:
        import torch

        torch.set_num_threads(cell.threads)


def _numbers(*shape: int) -> NDArray[np.float32]:
    """Return random numbers other than zero; a product's time does not depend on their values."""
    repeated = np.random.default_rng(0).standard_normal(65521, np.float32)
    numbers: NDArray[np.float32] = np.resize(repeated, shape)
    return numbers


def _open_onnx(cell: Multiplication) -> list[Call]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cell.threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        _onnx_model(cell), options, providers=["CPUExecutionProvider"]
    )
    kind = np.float32 if cell.precision == FP32 else np.uint8
    left = (np.abs(_numbers(cell.rows, cell.inner)) * 40).astype(kind)
    result = np.int32 if cell.form == "MatMulInteger" else np.float32

    def call() -> Call:
        # Results go to memory that is allocated before, as inside a model.
        binding = session.io_binding()
        output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            [cell.rows, cell.columns], result, "cpu"
        )
        binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(left))
        binding.bind_ortvalue_output("y", output)
        return lambda: session.run_with_iobinding(binding)

    return [call() for _ in range(cell.callers)]


def _onnx_model(cell: Multiplication) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    weight = _numbers(cell.inner, cell.columns)
    constants: dict[str, NDArray[Any]] = {"w": weight}
    left, result = TensorProto.FLOAT, TensorProto.FLOAT
    inputs = ["x", "w"]
    if cell.precision == INT8:
        left = TensorProto.UINT8
        constants["w"] = (weight * 40).clip(-127, 127).astype(np.int8)
        constants["zero"] = np.array(128, np.uint8)
        inputs = ["x", "w", "zero"]
        if cell.form == "MatMulIntegerToFloat":
            constants["scale"] = np.array(0.01, np.float32)
            constants["scales"] = np.full(cell.columns, 0.01, np.float32)
            inputs = ["x", "w", "scale", "scales", "zero"]
        else:
            result = TensorProto.INT32
    domain = CONTRIB if cell.form == "MatMulIntegerToFloat" else ""
    graph = helper.make_graph(
        [helper.make_node(cell.form, inputs, ["y"], domain=domain)],
        "ceiling",
        [helper.make_tensor_value_info("x", left, [cell.rows, cell.inner])],
        [helper.make_tensor_value_info("y", result, [cell.rows, cell.columns])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def _open_torch(cell: Multiplication) -> list[Call]:
    import torch

    kind = torch.bfloat16 if cell.precision == BF16 else torch.float32
    left = torch.from_numpy(_numbers(cell.rows, cell.inner)).to(kind)
    right = torch.from_numpy(_numbers(cell.columns, cell.inner)).to(kind).t()

    def call() -> Call:
        result = torch.empty(cell.rows, cell.columns, dtype=kind)
        return lambda: torch.mm(left, right, out=result)

    return [call() for _ in range(cell.callers)]


def _open_openvino(cell: Multiplication) -> list[Call]:
    from .openvino_kernels import requests

    return requests(
        _numbers(cell.inner, cell.columns), cell.rows, cell.precision, cell.callers, cell.threads
    )


OPENERS: dict[str, Callable[[Multiplication], list[Call]]] = {
    ONNXRUNTIME: _open_onnx,
    TORCH: _open_torch,
    OPENVINO: _open_openvino,
}


def _array_bytes() -> int:
    """Return the size of an array to read: several times the last-level cache, if memory allows."""
    wanted = max(LEAST_ARRAY, CACHES * cache_bytes())
    return min(wanted, psutil.virtual_memory().available // 8) // 4096 * 4096


def _bandwidth(arrays: NDArray[np.float32], cores: int) -> float:
    """Return the higher rate of reading and copying, in 10^9 bytes a second.

    A copied byte counts twice: it is read and written.
    """
    source, target = (np.array_split(array, cores) for array in arrays)

    def once(work: Callable[[int], object]) -> float:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(cores)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    read = once(lambda n: source[n].max())
    copy = once(lambda n: np.copyto(target[n], source[n]))
    return float(max(arrays[0].nbytes / read, arrays.nbytes / copy)) / 1e9
