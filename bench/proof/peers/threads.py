"""Threads: how many compute in a server, as the kernel counts; everybody has the same CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import psutil

from ....toolkit.errors import InvalidMeasurementError
from ....toolkit.machine import allowed_cpus
from ...serving.accounting import processes

SHARE = 0.05  # of a server's CPU time: what does less is not counted
Spent = Mapping[tuple[int, int], float]
"""CPU seconds by process and thread."""


def spent(root: int) -> Spent:
    """Return the CPU seconds of each thread of a process tree."""
    found: dict[tuple[int, int], float] = {}
    for process in processes(root):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found |= {(process.pid, t.id): t.user_time + t.system_time for t in process.threads()}
    return found


def working(before: Spent, after: Spent) -> int:
    """Return how many threads did at least a twentieth of the work between two readings."""
    work = [seconds - before.get(thread, 0.0) for thread, seconds in after.items()]
    return sum(each >= SHARE * sum(work) for each in work) if sum(work) > 0 else 0


def require_same_cpus(name: str, root: int) -> None:
    """Raise InvalidMeasurementError unless a server's processes may use the CPUs that we may."""
    wanted = sorted(allowed_cpus())
    for process in processes(root):
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if (own := sorted(process.cpu_affinity())) != wanted:
                raise InvalidMeasurementError(f"{name} runs on the CPUs {own}, others on {wanted}")
