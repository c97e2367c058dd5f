"""CPU and memory of a process tree, by differences of what the kernel has counted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from ..toolkit.machine import usable_cores


@dataclass(frozen=True)
class Snapshot:
    """CPU seconds used so far: server tree, generator tree, ourselves, machine busy and stolen."""

    clock: float
    server: float
    generator: float
    own: float
    busy: float
    stolen: float


@dataclass(frozen=True)
class Usage:
    """CPU between two snapshots, percent of the machine's usable cores (all cores = 100)."""

    server: float
    generator: float
    other: float
    steal: float
    generator_core: float


def processes(root: int) -> list[psutil.Process]:
    """Return a process and all its descendants (none if it is gone)."""
    try:
        parent = psutil.Process(root)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _seconds(tree: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in tree:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def snapshot(server: int, generator: int) -> Snapshot:
    """Read the counters now; ``server`` and ``generator`` are the roots' process ids."""
    machine = psutil.cpu_times()
    busy = machine.user + machine.system + getattr(machine, "nice", 0.0)
    busy += getattr(machine, "irq", 0.0) + getattr(machine, "softirq", 0.0)
    return Snapshot(
        clock=time.monotonic(),
        server=_seconds(processes(server)),
        generator=_seconds(processes(generator)),
        own=_seconds([psutil.Process(os.getpid())]),
        busy=busy,
        stolen=getattr(machine, "steal", 0.0),
    )


def usage(before: Snapshot, after: Snapshot) -> Usage:
    """Return the shares of the machine used between two snapshots."""
    whole = max(after.clock - before.clock, 1e-9) * usable_cores() / 100
    server = after.server - before.server
    generator = after.generator - before.generator
    other = (after.busy - before.busy) - server - generator - (after.own - before.own)
    return Usage(
        server=server / whole,
        generator=generator / whole,
        other=max(0.0, other / whole),
        steal=(after.stolen - before.stolen) / whole,
        generator_core=generator / whole * usable_cores(),
    )


def memory(root: int) -> tuple[int, int | None]:
    """Return bytes resident (RSS, shared pages counted in each process) and proportional (PSS).

    PSS is None where the kernel does not tell it.
    """
    resident, proportional = 0, 0
    known = True
    for process in processes(root):
        try:
            resident += process.memory_info().rss
            full = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        known = known and hasattr(full, "pss")
        proportional += getattr(full, "pss", 0)
    return resident, proportional if known else None
