"""What a served variant was measured to take, and what to ask for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MEBIBYTE = 1024 * 1024
STEP = 16  # MiB: figures finer than that would be false precision
MARGIN, HEADROOM = 1.10, 1.25
SLOWER = 10  # how many times slower than here a start may be elsewhere
LEAST_START_SECONDS = 30


@dataclass(frozen=True)
class Footprint:
    """One server, measured once.

    Args:
        cores: the CPUs it might use.
        start_seconds: from the start of its process to ready.
        resident: bytes resident after ``sentences`` ordinary sentences.
        peak: the most bytes ever resident, after full batches of the longest sentences too.
        sentences: how many ordinary ones were asked, by ``callers`` at once.
        callers: see ``sentences``.
        longest: tokens of the longest sentences asked.
        settings: those in force, as the server told them.
        day: when, as YYYY-MM-DD.

    """

    cores: int
    start_seconds: float
    resident: int
    peak: int
    sentences: int
    callers: int
    longest: int
    settings: Mapping[str, Any]
    day: str

    @property
    def resident_mebibytes(self) -> int:
        """``resident`` in MiB, rounded up."""
        return math.ceil(self.resident / MEBIBYTE)

    @property
    def peak_mebibytes(self) -> int:
        """``peak`` in MiB, rounded up."""
        return math.ceil(self.peak / MEBIBYTE)

    @property
    def memory_request(self) -> int:
        """MiB to ask for: what ordinary sentences take, and a tenth."""
        return _whole_steps(self.resident * MARGIN)

    @property
    def memory_limit(self) -> int:
        """MiB not to go beyond: the most ever seen, and a quarter."""
        return max(self.memory_request, _whole_steps(self.peak * HEADROOM))

    @property
    def start_limit(self) -> int:
        """Seconds after which a start has failed."""
        return max(LEAST_START_SECONDS, math.ceil(self.start_seconds * SLOWER))


def _whole_steps(size: float) -> int:
    return STEP * math.ceil(size / MEBIBYTE / STEP)
