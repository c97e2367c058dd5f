"""The records of an explanation: what to measure, and the results."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...toolkit.machine import cache_bytes, fingerprint, versions
from .ceilings import Ceiling, Kernel
from .flags import Flag
from .memory import Bandwidth
from .peak import Peak
from .starts import Starts
from .subject import Profile
from .workload import Floor, Workload

if TYPE_CHECKING:
    from .levels import Level


@dataclass(frozen=True)
class ExplainTerms:
    """What to measure: sentence lengths in tokens, batch sizes, threads of one call, rounds."""

    lengths: Sequence[int] = (16, 32, 128)
    batches: Sequence[int] = (1, 8)
    threads: int = 0
    rounds: int = 5


@dataclass(frozen=True)
class Share:
    """A fraction of the ceiling (0..1): the median of the rounds, the lowest and the highest."""

    fraction: float
    low: float
    high: float

    @classmethod
    def of(cls, fractions: Sequence[float]) -> Share:
        """Return the share from the fractions of all rounds."""
        return cls(statistics.median(fractions), min(fractions), max(fractions))

    def as_json(self) -> dict[str, float]:
        """Return the share as a JSON object."""
        return asdict(self)


@dataclass
class CallSamples:
    """The samples of one length and batch size, an entry for each round.

    ``latencies_ms`` are of one call alone with all threads; ``rates`` (sentences a second) of one
    single-threaded call on every core at once.
    """

    work: Workload
    latencies_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """One length and batch size: latency and rate, their floors, their shares of the ceilings.

    Floors and shares are those of weights that come from where the model's come from; the ``hot``
    shares those of a model whose weights cost nothing to load.
    """

    work: Workload
    alone: Floor
    latency_ms: float
    latency: Share
    together: Floor
    rate: float
    saturation: Share
    hot_latency: Share
    hot_saturation: Share

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
                "hot": self.hot_latency.as_json(),
            },
            "saturation": {
                "sentences_per_second": self.rate,
                "ceiling_sentences_per_second": self.rate / self.saturation.fraction,
                "floor": self.together.as_json(),
                **self.saturation.as_json(),
                "hot": self.hot_saturation.as_json(),
            },
        }  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The times of one sentence, from text to ranked tokens (milliseconds).

    ``python_ms`` is the rest beside tokenization and engine: ranking, ids to tokens, checks.
    """

    length: int
    total_ms: float
    tokenization_ms: float
    engine_ms: float
    python_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the request as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Explanation:
    """All results of an explanation.

    ``library`` is the one whose kernels the variant computes with; ``kernels`` are the best of
    every library.  ``others_percent`` is the share of the usable CPUs that other processes and the
    host took.
    """

    variant: str
    model: str
    engine: str
    library: str
    threads: int
    streams: int
    rounds: int
    ceilings: Sequence[Ceiling]
    kernels: Sequence[Kernel]
    peak: Peak
    missing: Mapping[str, str]
    bandwidths: Sequence[Bandwidth]
    points: Sequence[Measured]
    profiles: Sequence[Profile]
    casts: Mapping[str, int] | None
    request: Request
    flags: Sequence[Flag]
    others_percent: float
    starts: Sequence[Starts] = ()
    levels: Sequence[Level] = ()
    machine: Mapping[str, Any] = field(default_factory=fingerprint)
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def at_batch_1(self) -> Measured:
        """The smallest batch size of the first length."""
        first = [p for p in self.points if p.work.length == self.points[0].work.length]
        return min(first, key=lambda point: point.work.batch)

    @property
    def at_saturation(self) -> Measured:
        """The batch size of the first length with the most sentences a second."""
        first = [p for p in self.points if p.work.length == self.points[0].work.length]
        return max(first, key=lambda point: point.rate)

    def as_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        alone, most = self.at_batch_1, self.at_saturation
        return {
            "variant": self.variant,
            "model": self.model,
            "engine": self.engine,
            "library": self.library,
            "threads": self.threads,
            "streams": self.streams,
            "rounds": self.rounds,
            "summary": {
                "length": alone.work.length,
                "latency": {"batch": alone.work.batch, "ms": alone.latency_ms}
                | alone.latency.as_json()
                | {"hot": alone.hot_latency.as_json()},
                "saturation": {"batch": most.work.batch, "sentences_per_second": most.rate}
                | most.saturation.as_json()
                | {"hot": most.hot_saturation.as_json()},
            },
            "ceilings": [ceiling.as_json() for ceiling in self.ceilings],
            "kernels": [kernel.as_json() for kernel in self.kernels],
            "peak": self.peak.as_json(),
            "not_measured": dict(self.missing),
            "memory": [each.as_json() for each in self.bandwidths],
            "cache_bytes": cache_bytes(),
            "points": [point.as_json() for point in self.points],
            "profiles": [profile.as_json() for profile in self.profiles],
            "casts": dict(self.casts or {}),
            "request": self.request.as_json(),
            "flags": [flag.as_json() for flag in self.flags],
            "starts": [starts.as_json() for starts in self.starts],
            "levels": [level.as_json() for level in self.levels],
            "others_percent": self.others_percent,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
        }
