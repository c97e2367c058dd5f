"""What is explained: a variant behind the few questions that each engine answers in its own way."""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .building.manifest import read_manifest
from .building.opening import open_variant
from .ceilings import ONNXRUNTIME, OPENVINO, TORCH, Kernels, installed
from .engines.predictor import Predictor
from .engines.text import Batch
from .errors import UnusableInputError
from .files import read_json
from .machine import cache_bytes
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
from .stats import middle_half
from .workload import BF16, FP32, INT8, Product, Workload, compute_ms, of_bert

if TYPE_CHECKING:
    from .profile_openvino import Compiled

TOP_K = 5
PROFILE_SECONDS, LEAST_CALLS, MOST_CALLS = 1.5, 5, 60
PROJECTIONS, INSIDE = "projections in attention (estimated)", "inside attention (estimated)"


@dataclass(frozen=True)
class Profile:
    """Where the time of one call goes, other streams being busy with the same.

    ``engine_ms`` is a call without a profiler, in turns with profiled ones; ``groups`` are its
    operators by kind; ``profiler_ms`` is what writing them down cost and has been taken off.
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
        """What no operator explains: gaps between them, results handed over."""
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

    ``kernels`` are those its ceilings are measured with; ``casts`` those left in a call (after
    :meth:`facts`), by what they turn into what.

    Args:
        folder: the variant's folder.
        scratch: a folder for files that engines write.

    """

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.engine = read_manifest(folder).recipe.engine
        self.kernels: Kernels = {ONNXRUNTIME: (FP32, INT8)}
        self.casts: Mapping[str, int] = {}
        self._predictors: dict[int, Predictor] = {}

    def predictor(self, threads: int) -> Predictor:
        """Return the variant opened for so many threads a call."""
        if threads not in self._predictors:
            self._predictors[threads] = open_variant(self.folder, threads)
        return self._predictors[threads]

    def prepare(self, threads: int) -> None:  # noqa: B027 (most engines have nothing to set)
        """Set what an engine sets for a thread that calls it, not for a call."""

    def call(self, batch: Batch, threads: int) -> Callable[[], object]:
        """Return a function that runs one batch."""
        engine = self.predictor(threads).engine
        return lambda: engine.best(batch, TOP_K)

    @abstractmethod
    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves."""

    @abstractmethod
    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes; ``giga`` are the ceilings of one call's share."""

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return what flags are told from, as far as the engine knows (see flags.Facts)."""
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


def timed(call: Callable[[], object]) -> float:
    """Return the milliseconds one call takes."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def usual(times: Sequence[float]) -> float:
    """Return the mean of the half of some times that is neither long nor short."""
    return float(np.asarray(times)[middle_half(times)].mean())


def calls_in(seconds: float, call: Callable[[], object]) -> int:
    """Return how many calls fit into a time, within bounds; the call is made twice."""
    call()
    return int(min(MOST_CALLS, max(LEAST_CALLS, seconds * 1000 / timed(call))))


class OnnxSubject(Subject):
    """An ONNX graph: counted and profiled operator by operator, by ONNX Runtime itself."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        from .profile_onnx import Profiled, packed_in_eight_bits

        super().__init__(folder, scratch)
        self.path = folder / read_manifest(folder).recipe.file
        self._counting = Profiled(self.path, scratch, 1, whole_shapes=True)
        self._counted: list[list[Operator]] | None = None
        self._asked: list[tuple[int, int]] = []
        self._eight_bits = packed_in_eight_bits(self.path)

    def count(self, batches: Sequence[Batch]) -> None:
        """Run batches once with all shapes written down; :meth:`workload` then knows them."""
        for batch in batches:
            if _key(batch) not in self._asked:
                self._asked.append(_key(batch))
                self._counting.run(batch)
        self._counted = self._counting.runs()

    def run_of(self, batch: Batch) -> list[Operator]:
        """Return the operators of one run, weights' shapes included."""
        if self._counted is None or _key(batch) not in self._asked:
            raise UnusableInputError("this batch has not been counted")
        return self._counted[self._asked.index(_key(batch))]

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from the shapes of the graph as it ran."""
        rows, length = batch.input_ids.shape
        return workload(self.run_of(batch), length, rows, cache_bytes(), self._eight_bits)

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return what the graph, as ONNX Runtime made it at load, has in it."""
        run = self.run_of(batch)
        self.casts = casts(run)
        return graph_facts(run)

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, operator by operator, in kinds."""
        from .profile_onnx import Profiled, typical

        plain, times = self.call(batch, threads), []
        with (
            Profiled(self.path, self.scratch, threads) as profiled,
            busy(plain, streams - 1, lambda: self.prepare(threads)),
        ):
            for _ in range(calls_in(PROFILE_SECONDS, plain)):
                times.append(timed(plain))
                profiled.run(batch)
        run, cost = typical(profiled.runs())
        whole = self.run_of(batch)
        work = [products(each, self._eight_bits) for each in whole]
        rows, length = batch.input_ids.shape
        found = _groups(run, work, giga)
        return Profile(length, rows, threads, streams, usual(times), found, cost)


def _key(batch: Batch) -> tuple[int, int]:
    rows, length = batch.input_ids.shape
    return rows, length


def _groups(
    run: Sequence[Operator], work: Sequence[Sequence[Product]], giga: Mapping[str, float]
) -> list[Group]:
    """Return operators by kind, with the floor of their products."""
    names = [each.group for each in run]
    found = []
    for name in [each for each in GROUPS if each in names]:
        places = [place for place, group in enumerate(names) if group == name]
        multiplied = [product for place in places for product in work[place]]
        spent = sum(run[place].ms for place in places)
        found.append(Group(name, len(places), spent, compute_ms(multiplied, giga)))
        if name == ATTENTION and found[0].name == PRODUCTS:
            found[-1:] = _split(found[-1], found[0], multiplied, giga)
    return found


def _split(
    attention: Group, others: Group, multiplied: Sequence[Product], giga: Mapping[str, float]
) -> list[Group]:
    """Split fused attention into its projections and the rest.

    The projections are taken to run as close to the ceiling as the other products do.
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


class TorchSubject(Subject):
    """PyTorch: counted by what it dispatches, profiled by its own profiler."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        self.kernels = {ONNXRUNTIME: (INT8,), TORCH: (FP32, BF16)}
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its profiler announces itself

    def predictor(self, threads: int) -> Predictor:
        """Return the one predictor: PyTorch's threads are set for the process, not for a model."""
        return super().predictor(1)

    def prepare(self, threads: int) -> None:
        """Set PyTorch's number of threads."""
        import torch

        torch.set_num_threads(threads)

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from what PyTorch dispatches."""
        from .profile_torch import recorded

        rows, length = batch.input_ids.shape
        found = recorded(self.call(batch, 1))
        return Workload(length, rows, found.products, found.activation_bytes)

    def facts(self, batch: Batch) -> dict[str, Any]:
        """Return the threads that the environment asks OpenMP for."""
        asked = os.environ.get("OMP_NUM_THREADS", "")
        return {"environment_threads": int(asked) if asked.isdecimal() else None}

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, by kind of operator."""
        from .profile_torch import groups

        self.prepare(threads)
        plain = self.call(batch, threads)
        with busy(plain, streams - 1, lambda: self.prepare(threads)):
            count = calls_in(PROFILE_SECONDS / 2, plain)
            times = [timed(plain) for _ in range(count)]
            found, _ = groups(plain, count)
        rows, length = batch.input_ids.shape
        kinds = _with_floors(found, self.workload(batch).products, giga)
        return Profile(length, rows, threads, streams, usual(times), kinds)


class OpenvinoSubject(Subject):
    """OpenVINO: counted from the compiled model, profiled by its own counters."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        super().__init__(folder, scratch)
        self.kernels = {OPENVINO: (FP32, BF16, INT8), ONNXRUNTIME: (INT8,)}
        self._config = read_json(folder / "config.json")

    def _compiled(self, batch: Batch, threads: int) -> Compiled:
        from .profile_openvino import Compiled, hint_of

        path = self.folder / read_manifest(self.folder).recipe.file
        return Compiled(path, batch, hint_of(self.predictor(threads).engine), threads)

    def workload(self, batch: Batch) -> Workload:
        """Return what one call computes and moves, from the shapes of the compiled model."""
        rows, length = batch.input_ids.shape
        counted = self._compiled(batch, 1).count()
        found = list(counted.products)
        if counted.fused_attention:
            found += _attending(self._config, length, rows, counted.asked_only)
        return Workload(length, rows, found)

    def profile(
        self, batch: Batch, threads: int, streams: int, giga: Mapping[str, float]
    ) -> Profile:
        """Return where the time of a call goes, by kind of operator."""
        from .profile_openvino import groups

        plain, times = self.call(batch, threads), []
        compiled = self._compiled(batch, threads)
        with busy(plain, streams - 1, lambda: self.prepare(threads)):
            count = calls_in(PROFILE_SECONDS, plain)
            found = groups(compiled, count, lambda: times.append(timed(plain)))
        rows, length = batch.input_ids.shape
        kinds = _with_floors(found, self.workload(batch).products, giga)
        return Profile(length, rows, threads, streams, usual(times), kinds)


def _attending(
    config: Mapping[str, Any], length: int, batch: int, asked_only: bool
) -> list[Product]:
    """Return the products inside attention that no graph shows, from the numbers in config.json."""
    inside = [each for each in of_bert(config, length, batch, FP32) if each.inside]
    if asked_only:  # the last layer asks for one position of each sentence
        inside[-2:] = [replace(inside[-2], rows=1), replace(inside[-1], rows=1)]
    return inside


def _with_floors(
    found: Sequence[Group], multiplied: Sequence[Product], giga: Mapping[str, float]
) -> list[Group]:
    """Return the groups in the usual order, with the floors of products and of attention."""
    floors = {
        PRODUCTS: compute_ms([each for each in multiplied if not each.inside], giga),
        ATTENTION: compute_ms([each for each in multiplied if each.inside], giga),
    }
    places = {name: place for place, name in enumerate(GROUPS)}
    ordered = sorted(found, key=lambda group: places.get(group.name, len(places)))
    return [Group(g.name, g.operators, g.ms, floors.get(g.name, 0.0)) for g in ordered]


def open_subject(folder: Path, scratch: Path) -> Subject:
    """Return the subject of a variant's engine; raise UnusableInputError if there is none."""
    engine = read_manifest(folder).recipe.engine
    match engine:
        case "onnxruntime":
            subject: Subject = OnnxSubject(folder, scratch)
        case "pytorch":
            subject = TorchSubject(folder, scratch)
        case "openvino":
            subject = OpenvinoSubject(folder, scratch)
        case other:
            raise UnusableInputError(f"{folder}: 'explain' knows no engine {other!r}")
    if not {TORCH, OPENVINO} & set(subject.kernels) and installed(TORCH):
        subject.kernels = {**subject.kernels, TORCH: (BF16,)}
    return subject
