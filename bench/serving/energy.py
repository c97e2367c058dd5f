"""Energy of the CPU packages, where the kernel reports it (RAPL through powercap)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
PACKAGE = "intel-rapl:?"  # whole packages; they include their parts (cores, uncore)
MICROJOULES = 1e6


@dataclass(frozen=True)
class Counter:
    """One package's counter in microjoules and the value at which it wraps around."""

    value: int
    wraps_at: int


def counters() -> dict[str, Counter]:
    """Return every package's counter now; none if there are none or we may not read them."""
    readings = {}
    for zone in sorted(POWERCAP.glob(PACKAGE)):
        try:
            value = int((zone / "energy_uj").read_text())
            readings[zone.name] = Counter(value, int((zone / "max_energy_range_uj").read_text()))
        except (OSError, ValueError):
            continue
    return readings


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Return the energy between two readings, corrected if a counter wrapped around once.

    None if there was nothing to read.
    """
    both = before.keys() & after.keys()
    if not both:
        return None
    total = 0
    for name in both:
        step = after[name].value - before[name].value
        total += step if step >= 0 else step + after[name].wraps_at
    return total / MICROJOULES
