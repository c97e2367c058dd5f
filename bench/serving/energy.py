"""Energy of the CPU packages, where the kernel tells it (RAPL through powercap)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
PACKAGE = "intel-rapl:?"  # whole packages; their parts (cores, uncore) are counted in them
MICROJOULES = 1e6


@dataclass(frozen=True)
class Counter:
    """One package's counter in microjoules and the value at which it begins again."""

    value: int
    wraps_at: int


def counters() -> dict[str, Counter]:
    """Return every package's counter now; none where the machine does not tell or not us."""
    found = {}
    for zone in sorted(POWERCAP.glob(PACKAGE)):
        try:
            value = int((zone / "energy_uj").read_text())
            found[zone.name] = Counter(value, int((zone / "max_energy_range_uj").read_text()))
        except (OSError, ValueError):
            continue
    return found


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """Return the energy between two readings; a counter that began again once is put right.

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
