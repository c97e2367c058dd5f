"""The measured memory and start time of a served variant, and the limits to set for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...toolkit.files import MEBIBYTE

STEP = 16  # MiB: finer figures would pretend a precision that they do not have
MARGIN, HEADROOM = 1.10, 1.25
SLOWER = 10  # a start elsewhere may take this many times as long as here
LEAST_START_SECONDS = 30


@dataclass(frozen=True)
class Footprint:
    """One server, measured once.

    Args:
        cores: the CPUs that it could use.
        start_seconds: from the start of its process to ready.
        resident: bytes resident after ``sentences`` ordinary sentences.
        peak: the most bytes resident at any time, after full batches of the longest sentences too.
        sentences: how many ordinary sentences were asked.
        callers: how many callers asked them at the same time.
        longest: tokens of the longest sentences asked.
        settings: the settings in force, as the server reported them.
        day: the date of the measurement, as YYYY-MM-DD.

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
        """MiB to request: the memory after ordinary sentences, plus 10 %."""
        return _whole_steps(self.resident * MARGIN)

    @property
    def memory_limit(self) -> int:
        """MiB to allow: the peak, plus 25 %."""
        return max(self.memory_request, _whole_steps(self.peak * HEADROOM))

    @property
    def start_limit(self) -> int:
        """Seconds after which a start counts as failed."""
        return max(LEAST_START_SECONDS, math.ceil(self.start_seconds * SLOWER))


def _whole_steps(size: float) -> int:
    return STEP * math.ceil(size / MEBIBYTE / STEP)
