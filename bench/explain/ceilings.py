"""The ceilings of this machine: the best rates that any installed engine's kernels reach on it.

Products have the weight shapes of the explained model and many rows (a large batch), so that the
time to start threads is negligible.  First every kernel and shape is tried once.  Then the best of
each engine is measured again in every round, in turns with the calls that are compared with it:
with as many different weights in turn as the model has (cold: they come from where the model's
come from), and with the same weights again and again (hot).
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import psutil

from ...toolkit.machine import BF16_FLAGS, allowed_cpus, cache_bytes, fingerprint, whole_cores
from .clock import counter, gigahertz
from .kernels.multiplication import Call, Multiplication, Shape, forms, open_calls, prepare
from .kernels.rates import calls_per_second
from .memory import Bandwidth, arrays, bandwidth
from .peak import NO_CYCLES, Peak
from .workload import BF16, BYTES, INT8

ROWS = (256, 1024)
TRY_SECONDS, CELL_SECONDS = 0.015, 0.06
TRIED_AGAIN = 2  # shapes of a library that are tried on more cores
FREQUENT_SHAPES, LARGEST_SHAPES = 3, 2  # of those with most operations, those of most weights
COLD_CACHES = 3  # cold weights are several times the last-level cache, if the model's are
MEMORY_PART = 4  # of the free memory that cold weights may take

UNUSABLE = "the installed version has no kernel that runs here"

Key = tuple[str, int]
"""A precision and a number of cores."""


@dataclass
class Kernel:
    """The best kernel of a library at one precision on a number of cores.

    ``cold`` and ``hot`` have the rate of each round (10^9 operations a second).
    """

    cell: Multiplication
    cold: list[float] = field(default_factory=list)
    hot: list[float] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Precision and cores."""
        return self.cell.precision, self.cell.cores

    def as_json(self) -> dict[str, Any]:
        """Return the kernel as a JSON object; the rates are medians of the rounds."""
        return {
            "precision": self.cell.precision,
            "cores": self.cell.cores,
            "library": self.cell.library,
            "cold_giga_per_second": statistics.median(self.cold),
            "hot_giga_per_second": statistics.median(self.hot),
            "weights": self.cell.weights,
            "kernel": self.cell.words,
        }


@dataclass
class Ceiling:
    """The best rates reached at one precision on a number of cores, by whichever kernel.

    ``rates`` (weights cold) and ``hot`` have the best of each round (10^9 operations a second);
    ``cell`` is the multiplication that is the best with cold weights in most rounds.  ``peak`` is
    the CPU's nominal rate (None: not known).
    """

    precision: str
    cores: int
    cell: Multiplication
    rates: list[float] = field(default_factory=list)
    hot: list[float] = field(default_factory=list)
    peak: float | None = None

    @property
    def typical(self) -> float:
        """The median of the rounds, weights cold."""
        return statistics.median(self.rates)

    @property
    def typical_hot(self) -> float:
        """The median of the rounds, weights hot."""
        return statistics.median(self.hot)

    def as_json(self) -> dict[str, Any]:
        """Return the ceiling as a JSON object."""
        return {
            "precision": self.precision,
            "cores": self.cores,
            "giga_per_second": self.typical,
            "best_giga_per_second": max(self.rates),
            "hot_giga_per_second": self.typical_hot,
            "peak_giga_per_second": self.peak,
            "library": self.cell.library,
            "kernel": self.cell.words,
        }


@dataclass(frozen=True)
class Contrast:
    """The best kernel of another library against a library's own, weights cold, on all cores.

    ``ratios`` has the other's rate over the own one's in each round.
    """

    precision: str
    own: str
    other: str
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.ratios)


class Ceilings:
    """Measures the ceilings, one round at a time.

    Args:
        shapes: shapes of the model's weights, those with the most operations first.
        cores: the numbers of cores to measure with.
        parameters: numbers in all weights of the model, for how many are taken in turn.
        precisions: those wanted (none: all that there are).

    ``kernels`` has the best of each library; ``missing`` says by precision why it could not be
    measured; ``peak`` is the CPU's.

    """

    def __init__(
        self, shapes: Sequence[Shape], cores: Collection[int], parameters: int,
        precisions: Sequence[str] = (),
    ) -> None:  # fmt: skip
        machine = fingerprint()
        self.missing: dict[str, str] = {}
        self._parameters, self._cores = parameters, sorted(cores)
        self.peak = Peak.of(machine)
        self.kernels: list[Kernel] = []
        self._calls: dict[Multiplication, tuple[list[Call], list[Call]]] = {}
        grouped = _grouped(machine["isa"], precisions)
        largest = sorted(shapes[:FREQUENT_SHAPES], key=prod, reverse=True)[:LARGEST_SHAPES]
        self._cold_bytes = _cold_bytes(len(grouped) * len(cores))
        for (library, precision), names in grouped.items():
            self._try(library, precision, names, largest)
        if all(precision != BF16 for _, precision in grouped):
            self.missing[BF16] = _why_no_bf16(machine["isa"])
        self._cycles = counter()
        if self._cycles is None:
            self.peak.why = NO_CYCLES
        self.bandwidths = [Bandwidth(n, 0) for n in self._cores]
        self._arrays = arrays()
        for each in self.bandwidths:
            each.array_bytes = self._arrays[0].nbytes

    def _try(
        self, library: str, precision: str, names: Sequence[str], shapes: Sequence[Shape]
    ) -> None:
        """Find the best kernel of a library at each number of cores.

        All forms and shapes are tried on the fewest cores, the best few on more: as one call of all
        threads and as calls of one thread each.
        """
        least, *more = self._cores
        first = [
            Multiplication(precision, library, name, rows, *shape, least, 1)
            for name in names
            for shape in shapes
            for rows in ROWS
        ]
        best = self._ranked(first)
        if not best:
            self.missing[f"{precision} by {library}"] = UNUSABLE
            return
        self._keep(best[0])
        for number in more:
            again = [
                replace(cell, callers=callers, threads=threads)
                for cell in best[:TRIED_AGAIN]
                for callers, threads in ((number, 1), (1, number))
            ]
            self._keep(self._ranked(again)[0])

    def _ranked(self, cells: Sequence[Multiplication]) -> list[Multiplication]:
        """Return the multiplications that can run, the fastest first; none of them stays open."""
        rates = {}
        for cell in cells:
            try:
                rates[cell] = self._rate(cell, TRY_SECONDS, hot=True)
            except Exception:
                continue
            finally:
                self._calls.pop(cell, None)  # memory is needed only for the best of dozens
        return sorted(rates, key=lambda cell: -rates[cell])

    def _keep(self, cell: Multiplication) -> None:
        """Keep a multiplication for the rounds, with as many weights as the model has."""
        wanted = min(self._parameters * BYTES[cell.precision], self._cold_bytes)
        count = max(1, -(-wanted // cell.weight_bytes))
        self.kernels.append(Kernel(replace(cell, weights=count)))

    def measure(self) -> None:
        """Measure one round of all kernels, of the CPU's cycles and of memory."""
        for kernel in self.kernels:
            kernel.cold.append(self._rate(kernel.cell, CELL_SECONDS))
            kernel.hot.append(self._rate(kernel.cell, CELL_SECONDS, hot=True))
        for each in self.bandwidths:
            self._count_cycles(each.cores)
            each.rates.append(bandwidth(self._arrays, each.cores))

    def _count_cycles(self, cores: int) -> None:
        """Count cycles while the widest products are computed that there are."""
        if self._cycles is None:
            return
        kernel = max(
            (each for each in self.kernels if each.cell.cores == cores),
            key=lambda each: (each.cell.precision == INT8, each.cold[-1]),
        )
        cell = replace(kernel.cell, callers=cores, threads=1, weights=1)
        _, calls = self._open(cell)
        clocks = gigahertz(self._cycles, calls, lambda: prepare(cell))
        self.peak.add(cores, clocks, whole_cores(allowed_cpus()))

    @property
    def best(self) -> dict[Key, Ceiling]:
        """The ceilings measured so far, by precision and cores."""
        found: dict[Key, Ceiling] = {}
        for key in dict.fromkeys(kernel.key for kernel in self.kernels):
            own = [kernel for kernel in self.kernels if kernel.key == key]
            cell = max(own, key=lambda kernel: statistics.median(kernel.cold)).cell
            rates = [max(of_round) for of_round in zip(*(k.cold for k in own), strict=True)]
            hot = [max(of_round) for of_round in zip(*(k.hot for k in own), strict=True)]
            found[key] = Ceiling(*key, cell, rates, hot, self.peak.giga(*key))
        return found

    def contrasts(self, library: str, precisions: Collection[str]) -> list[Contrast]:
        """Return for each precision the best other library against this one, where both have it."""
        found = []
        for precision in precisions:
            of_all = {
                kernel.cell.library: kernel.cold
                for kernel in self.kernels
                if kernel.key == (precision, self._cores[-1])
            }
            own = of_all.pop(library, None)
            if own and of_all:
                other = max(of_all, key=lambda name: statistics.median(of_all[name]))
                ratios = tuple(b / a for a, b in zip(own, of_all[other], strict=True))
                found.append(Contrast(precision, library, other, ratios))
        return found

    def giga(self, cores: int, which: int | None = None, hot: bool = False) -> dict[str, float]:
        """Return the ceilings by precision: of round ``which``, or (None) the typical ones.

        Those with cold weights, or with hot ones.
        """
        return {
            precision: statistics.median(rates) if which is None else rates[which]
            for (precision, used), ceiling in self.best.items()
            if used == cores
            for rates in [ceiling.hot if hot else ceiling.rates]
        }

    def gigabytes(self, cores: int, which: int | None = None) -> float:
        """Return the bandwidth: of round ``which``, or (None) the typical one."""
        found = next(b for b in self.bandwidths if b.cores == cores)
        return found.typical if which is None else found.rates[which]

    def _open(self, cell: Multiplication) -> tuple[list[Call], list[Call]]:
        if cell not in self._calls:
            self._calls[cell] = open_calls(cell)
        return self._calls[cell]

    def _rate(self, cell: Multiplication, seconds: float, hot: bool = False) -> float:
        calls = self._open(cell)[hot]
        return cell.giga * calls_per_second(calls, seconds, lambda: prepare(cell))


def _grouped(
    isa: Sequence[str], precisions: Sequence[str]
) -> dict[tuple[str, str], list[str]]:  # fmt: skip
    """Return the kernels that there are, by library and precision."""
    found: dict[tuple[str, str], list[str]] = {}
    for library, precision, name in forms(isa, precisions):
        found.setdefault((library, precision), []).append(name)
    return found


def _cold_bytes(kernels: int) -> int:
    """Return how large the weights that a kernel takes in turn may be at most, in bytes.

    Several times the last-level cache, so that a longer turn would change nothing, as far as a part
    of the free memory has room for all kernels (each may hold its weights twice: as given, packed).
    """
    room = psutil.virtual_memory().available // MEMORY_PART // (2 * kernels)
    cache = cache_bytes()
    return min(room, COLD_CACHES * cache) if cache else room


def _why_no_bf16(isa: Sequence[str]) -> str:
    if not BF16_FLAGS & set(isa):
        return "this CPU has no BF16 instructions"
    return "needs torch or openvino: pip install 'tiankong[build]'"
