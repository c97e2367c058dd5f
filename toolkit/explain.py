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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from .ceilings import Bandwidth, Ceiling, Ceilings, Shape, calls_per_second
from .console import progress
from .engines.text import Batch, TextEncoder
from .errors import UnusableInputError
from .flags import Facts, Flag, flags
from .machine import allowed_cpus, cache_bytes, fingerprint, usable_cores, versions
from .subjects import OnnxSubject, Profile, Subject, open_subject, timed
from .workload import Floor, Workload, floor

LATENCY_SECONDS, SATURATION_SECONDS, REQUEST_CALLS = 0.25, 0.4, 8
PADDING_BATCH = 8
SPIN_SECONDS, SPIN_TIMES = 0.01, 5
BUSY_OTHERS = 10.0  # per cent of the machine: figures are then no basis for a decision


@dataclass(frozen=True)
class Terms:
    """What to measure: sentence lengths in tokens, batches, threads of one call, rounds."""

    lengths: Sequence[int] = (16, 32, 128)
    batches: Sequence[int] = (1, 8)
    threads: int = 0
    rounds: int = 5


@dataclass(frozen=True)
class Share:
    """A fraction of the ceiling (0..1): the median of the rounds, their smallest and largest."""

    fraction: float
    low: float
    high: float

    @classmethod
    def of(cls, fractions: Sequence[float]) -> Share:
        """Return the share of one fraction a round."""
        return cls(statistics.median(fractions), min(fractions), max(fractions))

    def as_json(self) -> dict[str, float]:
        """Return the share as a JSON object."""
        return {"fraction": self.fraction, "low": self.low, "high": self.high}


@dataclass
class Point:
    """One length and batch: a call alone with all threads, and one call a core at once.

    ``latencies_ms`` and ``rates`` (sentences a second) have an entry a round.
    """

    work: Workload
    latencies_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """A point with its floors and fractions."""

    work: Workload
    alone: Floor
    latency_ms: float
    latency: Share
    together: Floor
    rate: float
    saturation: Share

    def as_json(self) -> dict[str, Any]:
        """Return the point as a JSON object; operations are those of one sentence."""
        operations = self.work.operations()
        return {
            "length": self.work.length,
            "batch": self.work.batch,
            "giga_operations": {k: v / self.work.batch / 1e9 for k, v in operations.items()},
            "weight_bytes": self.work.weight_bytes,
            "activation_bytes": self.work.activation_bytes,
            "latency": {
                "ms": self.latency_ms, "floor": self.alone.as_json(), **self.latency.as_json(),
            },
            "saturation": {
                "sentences_per_second": self.rate,
                "ceiling_sentences_per_second": self.rate / self.saturation.fraction,
                "floor": self.together.as_json(),
                **self.saturation.as_json(),
            },
        }  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One sentence from text to ranked tokens (milliseconds).

    ``python_ms`` is what is neither tokenization nor engine: ranking, tokens of ids, checks.
    """

    length: int
    total_ms: float
    tokenization_ms: float
    engine_ms: float
    python_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the request as a JSON object."""
        return {
            "length": self.length,
            "total_ms": self.total_ms,
            "tokenization_ms": self.tokenization_ms,
            "engine_ms": self.engine_ms,
            "python_ms": self.python_ms,
        }


@dataclass(frozen=True)
class Explanation:
    """All of it."""

    variant: str
    model: str
    engine: str
    threads: int
    streams: int
    rounds: int
    ceilings: Sequence[Ceiling]
    missing: Mapping[str, str]
    bandwidths: Sequence[Bandwidth]
    points: Sequence[Measured]
    profiles: Sequence[Profile]
    casts: Mapping[str, int]
    request: Request
    flags: Sequence[Flag]
    others_percent: float
    machine: Mapping[str, Any] = field(default_factory=fingerprint)
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def at_batch_1(self) -> Measured:
        """The smallest batch of the first length."""
        first = [p for p in self.points if p.work.length == self.points[0].work.length]
        return min(first, key=lambda point: point.work.batch)

    @property
    def at_saturation(self) -> Measured:
        """The batch of the first length that gave the most sentences a second."""
        first = [p for p in self.points if p.work.length == self.points[0].work.length]
        return max(first, key=lambda point: point.rate)

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        alone, most = self.at_batch_1, self.at_saturation
        return {
            "variant": self.variant,
            "model": self.model,
            "engine": self.engine,
            "threads": self.threads,
            "streams": self.streams,
            "rounds": self.rounds,
            "summary": {
                "length": alone.work.length,
                "latency": {"batch": alone.work.batch, "ms": alone.latency_ms}
                | alone.latency.as_json(),
                "saturation": {"batch": most.work.batch, "sentences_per_second": most.rate}
                | most.saturation.as_json(),
            },
            "ceilings": [ceiling.as_json() for ceiling in self.ceilings],
            "not_measured": dict(self.missing),
            "memory": [each.as_json() for each in self.bandwidths],
            "cache_bytes": cache_bytes(),
            "points": [point.as_json() for point in self.points],
            "profiles": [profile.as_json() for profile in self.profiles],
            "casts": dict(self.casts),
            "request": self.request.as_json(),
            "flags": [flag.as_json() for flag in self.flags],
            "others_percent": self.others_percent,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
        }


def explain(
    model: str,
    folder: Path,
    texts: Mapping[int, Sequence[str]],
    gold: Sequence[str],
    terms: Terms,
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
        terms: Terms,
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
        self.points = [Point(subject.workload(batch)) for batch in self.batches]

    def run(self, model: str) -> Explanation:
        before = _busy()
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
            others_percent=_others(before, _busy()),
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

    def _measured(self, point: Point) -> Measured:
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


def _busy() -> tuple[float, float, float]:
    """Return seconds passed, CPU seconds of the whole machine, and those of this process."""
    times = psutil.cpu_times()
    whole = sum(times) - times.idle - getattr(times, "iowait", 0.0)
    # Guest time is counted in user time already.
    whole -= getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return time.monotonic(), whole, time.process_time()


def _others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """Return what other processes and the host took of the machine, in per cent."""
    passed, whole, own = (late - early for early, late in zip(before, after, strict=True))
    return max(0.0, 100 * (whole - own) / (passed * (psutil.cpu_count() or 1)))


def check_terms(terms: Terms, folder: Path) -> None:
    """Raise UnusableInputError for lengths, batches or threads that cannot be measured."""
    from .files import read_json

    positions = int(read_json(folder / "config.json")["max_position_embeddings"])
    for length in terms.lengths:
        if not 3 <= length <= positions:
            raise UnusableInputError(
                f"--lengths {length}: this model takes 3 to {positions} tokens ([CLS] and [SEP]"
                " counted)"
            )
    if not terms.lengths or not terms.batches or min(terms.batches) < 1:
        raise UnusableInputError("--lengths and --batches take numbers from 1, like 16,32,128")
