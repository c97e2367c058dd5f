"""One way to multiply matrices, and the libraries that can."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from ....toolkit.machine import BF16_FLAGS
from ..workload import BF16, BYTES, FP32, INT8, OPERATIONS_A_PAIR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Call = Callable[[], object]
Shape = tuple[int, int]
"""The shape of a weight matrix: (inner, columns)."""

ONNXRUNTIME, TORCH, OPENVINO = LIBRARIES = ("onnxruntime", "torch", "openvino")
FORMS: Mapping[str, Mapping[str, Sequence[str]]] = {
    ONNXRUNTIME: {FP32: ("MatMul",), INT8: ("MatMulInteger", "MatMulIntegerToFloat")},
    TORCH: {FP32: ("mm", "packed"), BF16: ("mm", "packed"), INT8: ("qlinear",)},
    OPENVINO: {FP32: ("MatMul",), BF16: ("MatMul",), INT8: ("MatMul", "MatMul u8 to u8")},
}
"""By library and precision, the ways to multiply (see the modules of each library)."""
OPENERS = {
    ONNXRUNTIME: "tiankong.bench.explain.kernels.onnx_kernels:calls",
    TORCH: "tiankong.bench.explain.kernels.torch_kernels:calls",
    OPENVINO: "tiankong.bench.explain.kernels.openvino_kernels:calls",
}


@dataclass(frozen=True)
class Multiplication:
    """One way to multiply: a library's kernel, a shape, and ``callers`` with ``threads`` each.

    With more than one of ``weights`` the callers take different matrices in turn, which then come
    from where a model's weights come from: memory, unless the model fits in a cache.
    """

    precision: str
    library: str
    form: str
    rows: int
    inner: int
    columns: int
    callers: int
    threads: int
    weights: int = 1

    @property
    def giga(self) -> float:
        """Operations of one call, in 10^9."""
        return OPERATIONS_A_PAIR * self.rows * self.inner * self.columns / 1e9

    @property
    def weight_bytes(self) -> int:
        """Bytes of one weight matrix."""
        return self.inner * self.columns * BYTES[self.precision]

    @property
    def cores(self) -> int:
        """The cores that all callers use."""
        return self.callers * self.threads

    @property
    def words(self) -> str:
        """The cell in a few words."""
        return (
            f"{self.library} {self.form}, {self.rows} x {self.inner} x {self.columns},"
            f" {self.callers} x {self.threads} threads"
        )


def installed(library: str) -> bool:
    """Tell whether a library is installed, without importing it."""
    return find_spec(library) is not None


def forms(isa: Sequence[str], precisions: Sequence[str] = ()) -> Iterator[tuple[str, str, str]]:
    """Yield (library, precision, form) of every kernel that is installed and fits this CPU.

    ``precisions`` are those wanted (none: all).
    """
    bf16 = bool(BF16_FLAGS & set(isa))
    for library in filter(installed, LIBRARIES):
        for precision, names in FORMS[library].items():
            if (precision != BF16 or bf16) and (not precisions or precision in precisions):
                yield from ((library, precision, name) for name in names)


def open_calls(cell: Multiplication) -> tuple[list[Call], list[Call]]:
    """Return for each caller a function that multiplies once: by turns, and by the same weights.

    The first takes the next weight matrix each time (cold weights, if there are enough), the second
    always the same (hot).
    """
    each: list[list[Call]] = resolve_name(OPENERS[cell.library])(cell)
    # Callers begin at different weights, so that none finds what another has just read.
    turns = [_in_turn(calls, n * len(calls) // len(each)) for n, calls in enumerate(each)]
    return turns, [calls[0] for calls in each]


def _in_turn(calls: Sequence[Call], first: int) -> Call:
    turns = cycle((*calls[first:], *calls[:first]))
    return lambda: next(turns)()


def prepare(cell: Multiplication) -> None:
    """Set PyTorch's number of threads, which is a setting of the calling thread, not of a call."""
    if cell.library == TORCH:
        import torch

        torch.set_num_threads(cell.threads)


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random numbers other than zero; a product's time does not depend on their values."""
    import numpy as np

    repeated = np.random.default_rng(seed).standard_normal(65521, np.float32)
    values: NDArray[np.float32] = np.resize(repeated, shape)
    return values
