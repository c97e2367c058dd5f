"""A cell: one measured point with its raw latencies and everything that bears on its validity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..stats import percentile
from .load import Load
from .point import Point


@dataclass(frozen=True)
class Cell:
    """One measured point, with what was seen while it was measured.

    Latencies are those of right answers, in milliseconds, raw, in order of completion: in a closed
    loop from sending, in an open loop from the *intended* start.  ``ends_ms`` tells when each was
    completed, ``late_ms`` (open loop) how long after its intended start it was sent; ``seconds``
    is the measured window.  CPU figures ending in ``_percent`` are percent of the machine (all
    cores of the affinity mask = 100) unless their name says otherwise.

    Args:
        attempt: how often the point was measured, this time included.
        machine: digest of the fingerprint before the window.
        changes: parts of the fingerprint that differed after it, or from the run's header.
        generator_core_percent: the busiest generator process, percent of one core.
        generator_wait_percent: of the time a generator could have run, the share it had to wait.
        generator_late_ms: the 99th percentile of the generator's heartbeat's lateness.
        server_quota_percent: the server's CPU, percent of its cgroup's quota (None: no quota).
        throttled_percent: share of the CPU quota's periods in which a cgroup was held back.
        swapped_bytes: bytes the machine swapped in and out.
        joules: energy of the CPU packages (None: the machine does not tell).
        settings: the server's settings in force, those it chose by itself among them.

    """

    point: Point
    seconds: float
    latencies_ms: Sequence[float]
    started: str
    attempt: int = 1
    warmup_seconds: float = 0.0
    ends_ms: Sequence[float] = ()
    late_ms: Sequence[float] = ()
    failures: Mapping[str, int] = field(default_factory=dict)
    wrong: int = 0
    examples: Sequence[str] = ()
    server_cpu_percent: float = 0.0
    server_quota_percent: float | None = None
    generator_cpu_percent: float = 0.0
    generator_core_percent: float = 0.0
    generator_wait_percent: float = 0.0
    generator_late_ms: float = 0.0
    generators: int = 1
    other_cpu_percent: float = 0.0
    steal_percent: float = 0.0
    throttled_percent: float = 0.0
    swapped_bytes: int = 0
    joules: float | None = None
    resident_bytes: int = 0
    proportional_bytes: int | None = None
    start_seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    changes: Sequence[str] = ()

    @property
    def load(self) -> Load:
        """The load of its point."""
        return self.point.load

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failures.values())

    @property
    def requests(self) -> int:
        """Requests in all: right, wrong and failed."""
        return len(self.latencies_ms) + self.failed + self.wrong

    @property
    def qps(self) -> float:
        """Requests rightly answered a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def sentences_per_second(self) -> float:
        """Sentences rightly answered a second."""
        return self.qps * self.load.batch

    @property
    def mean_ms(self) -> float:
        """Mean latency of right answers, NaN if there are none."""
        return (
            math.fsum(self.latencies_ms) / len(self.latencies_ms) if self.latencies_ms else math.nan
        )

    def percentile_ms(self, rank: int) -> float | None:
        """Return a latency percentile; failures and wrong answers count as infinitely slow."""
        return percentile(self.latencies_ms, rank, self.failed + self.wrong)

    def goodput(self, limit_ms: float) -> float:
        """Return right answers a second that took at most ``limit_ms``."""
        return sum(latency <= limit_ms for latency in self.latencies_ms) / self.seconds

    @property
    def joules_per_request(self) -> float | None:
        """Energy of the whole machine a right answer; None where the machine does not tell."""
        if self.joules is None or not self.latencies_ms:
            return None
        return self.joules / len(self.latencies_ms)
