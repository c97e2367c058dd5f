"""A cell: one measured point with its raw latencies and everything its validity depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..stats import percentiles
from .load import Load
from .point import Point

UNANSWERED = "unanswered"  # among the failures: a closed loop's requests past their deadline


@dataclass(frozen=True)
class Cell:
    """One measured point, with what was recorded while it was measured.

    Latencies are those of right answers, in milliseconds, raw, in order of completion.  In a closed
    loop they count from sending, in an open loop from the *intended* start.  ``ends_ms`` tells when
    each request was completed, ``late_ms`` (open loop) how long after its intended start it was
    sent; ``seconds`` is the length of the measured window.  CPU figures ending in ``_percent`` are
    percent of the machine (all cores of the affinity mask = 100) unless their name says otherwise.

    Args:
        attempt: the number of this measurement of the point, counted from 1.
        machine: digest of the machine's fingerprint before the window.
        changes: parts of the fingerprint that changed during the window, or since the run's header.
        generator_core_percent: CPU of the busiest generator process, percent of one core.
        generator_wait_percent: share of a generator's runnable time that it waited for a core.
        generator_late_ms: how late the generator's heartbeat was, 99th percentile.
        server_cpu_percent, other_cpu_percent, resident_bytes: of the server and of other processes;
            None if it is not known which processes are the server's.
        server_quota_percent: the server's CPU, percent of its cgroup's quota (None: no quota).
        throttled_percent: share of the CPU quota's periods in which a cgroup was throttled.
        swapped_bytes: bytes the machine swapped in and out.
        joules: energy of the CPU packages (None: the machine has no counter to read).
        settings: the server settings in use, including those that the server chose itself.
        stages: mean milliseconds that a request answered in the window spent in each stage of the
            server (:data:`.STAGES`), by the server's own clock; empty if it does not tell.

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
    server_cpu_percent: float | None = 0.0
    server_quota_percent: float | None = None
    generator_cpu_percent: float = 0.0
    generator_core_percent: float = 0.0
    generator_wait_percent: float = 0.0
    generator_late_ms: float = 0.0
    generators: int = 1
    other_cpu_percent: float | None = 0.0
    steal_percent: float = 0.0
    throttled_percent: float = 0.0
    swapped_bytes: int = 0
    joules: float | None = None
    resident_bytes: int | None = 0
    proportional_bytes: int | None = None
    start_seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    changes: Sequence[str] = ()
    stages: Mapping[str, float] = field(default_factory=dict)

    @property
    def load(self) -> Load:
        """The point's load."""
        return self.point.load

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failures.values())

    @property
    def requests(self) -> int:
        """All requests: right, wrong and failed."""
        return len(self.latencies_ms) + self.failed + self.wrong

    @property
    def qps(self) -> float:
        """Right answers to requests a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def sentences_per_second(self) -> float:
        """Right answers to sentences a second."""
        return self.qps * self.load.batch

    @cached_property
    def mean_ms(self) -> float:
        """Mean latency of right answers, NaN if there are none."""
        return (
            math.fsum(self.latencies_ms) / len(self.latencies_ms) if self.latencies_ms else math.nan
        )

    def percentile_ms(self, rank: int) -> float | None:
        """Return a latency percentile; failures and wrong answers count as infinitely slow."""
        return self._percentiles[rank]

    @cached_property
    def _percentiles(self) -> Mapping[int, float | None]:
        return percentiles(self.latencies_ms, self.failed + self.wrong)

    def in_time(self, limit_ms: float) -> int:
        """Return how many right answers took at most ``limit_ms``."""
        return int(np.count_nonzero(np.asarray(self.latencies_ms) <= limit_ms))

    @property
    def joules_per_request(self) -> float | None:
        """Energy of all CPU packages for each right answer; None if it was not measured."""
        if self.joules is None or not self.latencies_ms:
            return None
        return self.joules / len(self.latencies_ms)
