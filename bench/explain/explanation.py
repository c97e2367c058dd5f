"""How far a variant is from the machine, and what stands between.

Ceilings (ceilings.py), what a call computes (workload.py) and how long it takes are put together.
Everything that is held against something else is measured in turns, in several rounds: a fraction
of the ceiling is taken inside each round, and the median of the rounds is told with their spread.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...toolkit.console import progress
from ...toolkit.engines.text import Batch, TextEncoder
from ...toolkit.errors import UnusableInputError
from ...toolkit.machine import allowed_cpus, cache_bytes, fingerprint, usable_cores
from ..serving.accounting import busy_so_far, others_percent
from .ceilings import Ceilings, Shape, calls_per_second
from .findings import CallSamples, Explanation, Measured, Request, Share
from .flags import Facts, flags
from .onnx_subject import OnnxSubject
from .opening import open_subject
from .subject import Profile, Subject, timed
from .workload import Floor, Workload, floor

if TYPE_CHECKING:
    from .findings import ExplainTerms

LATENCY_SECONDS, SATURATION_SECONDS, REQUEST_CALLS = 0.25, 0.4, 8
PADDING_BATCH = 8
SPIN_SECONDS, SPIN_TIMES = 0.01, 5
BUSY_OTHERS = 10.0  # per cent of the machine: figures are then no basis for a decision


def explain(
    model: str,
    folder: Path,
    texts: Mapping[int, Sequence[str]],
    gold: Sequence[str],
    terms: ExplainTerms,
) -> Explanation:
    """Measure a built variant against its machine.

    ``texts`` are sentences of exactly so many tokens for each length; ``gold`` are sentences as
    they come (padding is counted on them).
    """
    with (
        tempfile.TemporaryDirectory(prefix="tiankong-explain-") as scratch,
        progress("explain", terms.rounds + 4) as step,
    ):
        step(f"open {folder.name}")
        subject = open_subject(folder, Path(scratch))
        return _Measuring(subject, texts, gold, terms, step).run(model)


class _Measuring:
    """One explanation in the making."""

    def __init__(
        self,
        subject: Subject,
        texts: Mapping[int, Sequence[str]],
        gold: Sequence[str],
        terms: ExplainTerms,
        step: Callable[[str], None],
    ) -> None:
        self.subject, self.terms, self.step = subject, terms, step
        self.cores = usable_cores()
        self.threads = terms.threads or self.cores
        # Over the usable cores no thread brings more.
        self.used = min(self.threads, self.cores)
        self.encoder = subject.predictor(self.threads).encoder
        self.gold = gold
        self.sentence = texts[terms.lengths[0]][0]
        self.batches = [
            _batch(self.encoder, texts[length], batch)
            for length in terms.lengths
            for batch in terms.batches
        ]
        if isinstance(subject, OnnxSubject):
            subject.count(self.batches)
        self.points = [CallSamples(subject.workload(batch)) for batch in self.batches]

    def run(self, model: str) -> Explanation:
        before = busy_so_far()
        facts = self._facts()
        self.step("try the kernels")
        cores = {1, self.used, self.cores}
        isa = fingerprint()["isa"]
        self.ceilings = Ceilings(self._shapes(), cores, self.subject.kernels, isa)
        for number in range(self.terms.rounds):
            self.step(f"round {number + 1} of {self.terms.rounds}")
            self._round()
        self.step("where the time goes")
        profiles = self._profiles()
        self.step("from text to tokens")
        request = self._request()
        manifest_name = self.subject.predictor(self.threads).name
        return Explanation(
            variant=manifest_name,
            model=model,
            engine=self.subject.engine,
            threads=self.threads,
            streams=self.cores,
            rounds=self.terms.rounds,
            ceilings=list(self.ceilings.found.values()),
            missing=self.ceilings.missing,
            bandwidths=self.ceilings.bandwidths,
            points=[self._measured(point) for point in self.points],
            profiles=profiles,
            casts=self.subject.casts,
            request=request,
            flags=flags(facts),
            others_percent=others_percent(before, busy_so_far()),
        )

    def _shapes(self) -> list[Shape]:
        """Return the weights' shapes, those with most operations first."""
        spent: dict[Shape, int] = {}
        for product in self.points[0].work.products:
            if not product.inside:
                shape = (product.inner, product.columns)
                spent[shape] = spent.get(shape, 0) + product.operations
        return sorted(spent, key=lambda shape: -spent[shape])

    def _round(self) -> None:
        self.ceilings.measure()
        for point, batch in zip(self.points, self.batches, strict=True):
            self.subject.prepare(self.threads)
            alone = self.subject.call(batch, self.threads)
            alone()
            point.latencies_ms.append(_median_ms(alone, LATENCY_SECONDS))
            call = self.subject.call(batch, 1)
            calls = calls_per_second(
                [call] * self.cores, SATURATION_SECONDS, lambda: self.subject.prepare(1)
            )
            point.rates.append(calls * point.work.batch)

    def _measured(self, point: CallSamples) -> Measured:
        alone = [self._floor(point.work, self.used, 1, n) for n in range(self.terms.rounds)]
        together = [
            self._floor(point.work, self.cores, self.cores, n) for n in range(self.terms.rounds)
        ]
        batch = point.work.batch
        latency = [
            least.ms / ms for least, ms in zip(alone, point.latencies_ms, strict=True)
        ]  # fmt: skip
        saturation = [
            rate * least.ms / 1000 / batch
            for least, rate in zip(together, point.rates, strict=True)
        ]
        return Measured(
            point.work,
            self._floor(point.work, self.used, 1),
            statistics.median(point.latencies_ms),
            Share.of(latency),
            self._floor(point.work, self.cores, self.cores),
            statistics.median(point.rates),
            Share.of(saturation),
        )

    def _floor(self, work: Workload, cores: int, calls: int, which: int | None = None) -> Floor:
        giga = self.ceilings.giga(cores, which)
        gigabytes = self.ceilings.gigabytes(cores, which)
        return floor(work, giga, gigabytes, cache_bytes(), calls)

    def _profiles(self) -> list[Profile]:
        """Profile the first length: the smallest batch alone, the largest on every core."""
        first = self.batches[: len(self.terms.batches)]
        smallest, largest = min(first, key=_rows), max(first, key=_rows)
        giga = self.ceilings.giga(self.used)
        part = {name: rate / self.cores for name, rate in self.ceilings.giga(self.cores).items()}
        return [
            self.subject.profile(smallest, self.threads, 1, giga),
            self.subject.profile(largest, 1, self.cores, part),
        ]

    def _request(self) -> Request:
        """Time one sentence whole and in parts, in turns."""
        self.subject.prepare(self.threads)
        predictor, encoder = self.subject.predictor(self.threads), self.encoder
        batch = _batch(encoder, [self.sentence], 1)
        parts: dict[str, Callable[[], object]] = {
            "total_ms": lambda: predictor.predict([self.sentence]),
            "tokenization_ms": lambda: encoder.batch([encoder.encode(self.sentence)]),
            "engine_ms": self.subject.call(batch, self.threads),
        }
        turns = [
            {name: timed(part) for name, part in parts.items()}
            for _ in range(REQUEST_CALLS * self.terms.rounds)
        ]
        medians = {name: statistics.median(turn[name] for turn in turns) for name in parts}
        rest = [t["total_ms"] - t["tokenization_ms"] - t["engine_ms"] for t in turns]
        return Request(self.terms.lengths[0], **medians, python_ms=statistics.median(rest))

    def _facts(self) -> Facts:
        machine, batch = fingerprint(), self.batches[0]
        allowed, limit = len(allowed_cpus()), machine["cgroup_quota_cores"]
        self.subject.prepare(self.threads)
        return Facts(
            architecture=machine["architecture"],
            isa=tuple(machine["isa"]),
            precisions=tuple(self.points[0].work.operations()),
            logical_cpus=machine["logical_cpus"],
            allowed_cpus=allowed,
            quota=limit,
            threads=self.threads,
            spinning=_spinning(self.subject.call(batch, self.threads)),
            shared=machine["hypervisor"] or limit is not None or allowed < machine["logical_cpus"],
            padding=padding([len(self.encoder.encode(text)) for text in self.gold]),
            padding_batch=PADDING_BATCH,
            **self.subject.facts(batch),
        )


def _batch(encoder: TextEncoder, texts: Sequence[str], size: int) -> Batch:
    return encoder.batch([encoder.encode(texts[n % len(texts)]) for n in range(size)])


def _rows(batch: Batch) -> int:
    return int(batch.input_ids.shape[0])


def padding(lengths: Sequence[int], batch: int = PADDING_BATCH) -> float:
    """Return the share of tokens that are padding when sentences fill batches as they come."""
    whole = sum(
        max(part) * len(part)
        for part in (lengths[n : n + batch] for n in range(0, len(lengths), batch))
    )
    return 1 - sum(lengths) / whole if whole else 0.0


def _median_ms(call: Callable[[], object], seconds: float) -> float:
    times: list[float] = []
    begun = time.perf_counter()
    while not times or time.perf_counter() - begun < seconds:
        times.append(timed(call))
    return statistics.median(times)


def _spinning(call: Callable[[], object]) -> float:
    """Return how many cores this process keeps busy just after a call has returned."""
    found = []
    for _ in range(SPIN_TIMES):
        call()
        begun, used = time.perf_counter(), time.process_time()
        time.sleep(SPIN_SECONDS)
        found.append((time.process_time() - used) / (time.perf_counter() - begun))
    return statistics.median(found)


def check_terms(terms: ExplainTerms, folder: Path) -> None:
    """Raise UnusableInputError for lengths, batches or threads that cannot be measured."""
    from ...toolkit.files import read_json

    positions = int(read_json(folder / "config.json")["max_position_embeddings"])
    for length in terms.lengths:
        if not 3 <= length <= positions:
            raise UnusableInputError(
                f"--lengths {length}: this model takes 3 to {positions} tokens ([CLS] and [SEP]"
                " counted)"
            )
    if not terms.lengths or not terms.batches or min(terms.batches) < 1:
        raise UnusableInputError("--lengths and --batches take numbers from 1, like 16,32,128")
