"""The subject of ``explain``: a variant, and the questions that each engine answers differently."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...toolkit.building.manifest import read_manifest
from ...toolkit.building.opening import open_variant
from ...toolkit.engines.outputs import TOP
from ...toolkit.engines.predictor import Predictor
from ...toolkit.engines.text import Batch
from ...toolkit.stats import middle_half
from .kernels.multiplication import ONNXRUNTIME
from .kernels.rates import timed
from .operators import ATTENTION, GROUPS, PRODUCTS, Group
from .workload import Product, Workload, compute_ms

if TYPE_CHECKING:
    from .levels import Level

PROFILE_SECONDS, LEAST_CALLS, MOST_CALLS = 1.5, 5, 60
PROJECTIONS, INSIDE = "projections in attention (estimated)", "inside attention (estimated)"


@dataclass(frozen=True)
class Profile:
    """Where the time of one call goes, while the other streams run the same batch.

    ``engine_ms`` is the time of a call without a profiler, measured in turns with profiled calls.
    ``groups`` are its operators by kind.  ``profiler_ms`` is the profiler's own cost, which is
    subtracted from the groups.
    """

    length: int
    batch: int
    threads: int
    streams: int
    engine_ms: float
    groups: Sequence[Group]
    profiler_ms: float = 0.0

    @property
    def between_ms(self) -> float:
        """The time that no operator accounts for: gaps between operators, passing on results."""
        return self.engine_ms - sum(group.ms for group in self.groups)

    def as_json(self) -> dict[str, Any]:
        """Return the profile as a JSON object."""
        return {
            "length": self.length,
            "batch": self.batch,
            "threads": self.threads,
            "streams": self.streams,
            "engine_ms": self.engine_ms,
            "groups": [group.as_json() for group in self.groups],
            "between_ms": self.between_ms,
            "profiler_ms": self.profiler_ms,
        }


class Subject(ABC):
    """A built variant and its engine.

    ``library`` is the one whose kernels it computes with.  ``casts`` counts the casts that are left
    in a call, by their types; :meth:`facts` sets it; None if the profile counts them.

    Args:
        folder: the variant's folder.
        scratch: a folder for files that engines write.

    """

    library = ONNXRUNTIME

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.engine = read_manifest(folder).recipe.engine
        self.casts: Mapping[str, int] | None = None
        self._predictors: dict[int, Predictor] = {}

    def predictor(self, threads: int) -> Predictor:
        """Return the variant opened for so many threads per call."""
        if threads not in self._predictors:
            self._predictors[threads] = open_variant(self.folder, threads)
        return self._predictors[threads]

    def prepare(self, threads: int) -> None:  # noqa: B027 (most engines have nothing to set)
        """Set what the engine sets once per calling thread."""

    def call(self, batch: Batch, threads: int) -> Callable[[], object]:
        """Return a function that runs one batch."""
        engine = self.predictor(threads).engine
        return lambda: engine.best(batch, TOP)

    def count(self, batches: Sequence[Batch]) -> None:  # noqa: B027 (most count when asked)
        """Prepare :meth:`workload` for these batches."""

    @abstractmethod
    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves."""

    @abstractmethod
    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes; ``giga`` are the ceilings of one call's share."""

    def levels(self, batch: Batch) -> Sequence[Level]:
        """Return the time of a batch at each optimization level, if the engine has levels."""
        return ()

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return the facts that flags are derived from, if the engine has them (flags.Facts)."""
        return {}


@contextmanager
def busy(call: Callable[[], object], callers: int, prepare: Callable[[], None]) -> Iterator[None]:
    """Keep so many threads calling while the block runs."""
    done = threading.Event()

    def work() -> None:
        prepare()
        while not done.is_set():
            call()

    threads = [threading.Thread(target=work) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def usual(times: Sequence[float]) -> float:
    """Return the mean of the middle half of some times."""
    return float(np.asarray(times)[middle_half(times)].mean())


def calls_in(seconds: float, call: Callable[[], object]) -> int:
    """Return how many calls fit into a time, within bounds; the call is made twice."""
    call()
    return int(min(MOST_CALLS, max(LEAST_CALLS, seconds * 1000 / timed(call))))


def with_floors(
    measured: Sequence[Group], multiplied: Sequence[Product], giga: Mapping[str, float]
) -> list[Group]:
    """Return the groups in the order of ``GROUPS``, products and attention with their floors."""
    floors = {
        PRODUCTS: compute_ms([product for product in multiplied if not product.inside], giga),
        ATTENTION: compute_ms([product for product in multiplied if product.inside], giga),
    }
    places = {name: place for place, name in enumerate(GROUPS)}
    ordered = sorted(measured, key=lambda group: places.get(group.name, len(places)))
    return [Group(g.name, g.operators, g.ms, floors.get(g.name, 0.0)) for g in ordered]
