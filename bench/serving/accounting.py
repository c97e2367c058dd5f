"""CPU, throttling, swap and energy of process trees, from differences of kernel counters."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psutil

from ...toolkit.cgroup import Throttling, quota, throttling
from ...toolkit.machine import allowed_cpus
from . import energy


@dataclass(frozen=True)
class Counters:
    """The kernel's counters at one moment.

    ``server``, ``generator`` and ``own`` are CPU seconds of the process trees of servers and load
    generator and of this process.  ``busy`` and ``stolen`` are seconds summed over the CPUs this
    process may use.  ``swapped`` is in bytes.  ``throttling`` is by process id.
    """

    clock: float
    server: float | None
    generator: float
    own: float
    busy: float
    stolen: float
    swapped: int
    throttling: Mapping[int, Sequence[Throttling]]
    energy: Mapping[str, energy.Counter]
    quota: float | None


@dataclass(frozen=True)
class Usage:
    """What was used between two snapshots, in percent of all CPUs this process may use (all = 100).

    ``server_quota`` is in percent of the quota of the server's cgroup (None: no quota).
    ``throttled`` is the percentage of the quota's periods in which a process was throttled.
    ``server`` is None if the server's processes are not known, and ``other`` too then, since they
    may be among the others.
    """

    server: float | None
    server_quota: float | None
    generator: float
    other: float | None
    steal: float
    throttled: float
    swapped: int
    joules: float | None

    @property
    def others(self) -> float:
        """The CPU time that other processes, as far as they are known, and the host used."""
        return (self.other or 0.0) + self.steal


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
        # Children that have ended since are counted in their parent's ``children_*``.
        total += times.user + times.system + times.children_user + times.children_system
    return total


def snapshot(servers: Sequence[int] | None = (), generator: int | None = None) -> Counters:
    """Read the counters now; the arguments are the ids of the trees' root processes.

    ``servers`` is None if the server may be among the processes here, and it is not known which it
    is; it is empty if the server is not on this machine.  ``generator`` is None
    if none runs: ``explain`` calls the variant in this process.
    """
    cpus = psutil.cpu_times(percpu=True)
    ours = [cpus[number] for number in allowed_cpus() if number < len(cpus)]
    swap = psutil.swap_memory()
    generators = [] if generator is None else [generator]
    return Counters(
        clock=time.monotonic(),
        server=None if servers is None else sum(_seconds(processes(root)) for root in servers),
        generator=sum(_seconds(processes(root)) for root in generators),
        own=_seconds([psutil.Process(os.getpid())]),
        busy=sum(_busy(cpu) for cpu in ours),
        stolen=sum(getattr(cpu, "steal", 0.0) for cpu in ours),
        swapped=swap.sin + swap.sout,
        throttling={root: throttling(root) for root in (*(servers or ()), *generators)},
        energy=energy.counters(),
        quota=min((cores for root in servers or () if (cores := quota(root))), default=None),
    )


def _busy(cpu: psutil._ntuples.scputimes) -> float:
    names = ("user", "system", "nice", "irq", "softirq")
    return sum(float(getattr(cpu, name, 0.0)) for name in names)


def usage(before: Counters, after: Counters) -> Usage:
    """Return what was used between two snapshots."""
    elapsed = max(after.clock - before.clock, 1e-9)
    one_percent = elapsed * len(allowed_cpus()) / 100
    generator = after.generator - before.generator
    rest = (after.busy - before.busy) - generator - (after.own - before.own)
    known = before.server is not None and after.server is not None
    server = (after.server or 0.0) - (before.server or 0.0)
    return Usage(
        server=server / one_percent if known else None,
        server_quota=100 * server / elapsed / after.quota if known and after.quota else None,
        generator=generator / one_percent,
        other=max(0.0, (rest - server) / one_percent) if known else None,
        steal=max(0.0, (after.stolen - before.stolen) / one_percent),
        throttled=_throttled(before, after),
        swapped=max(0, after.swapped - before.swapped),
        joules=energy.joules(before.energy, after.energy),
    )


def _throttled(before: Counters, after: Counters) -> float:
    """Return the largest percentage of periods in which a cgroup was throttled."""
    shares = [0.0]
    for root in before.throttling.keys() & after.throttling.keys():
        for first, last in zip(before.throttling[root], after.throttling[root], strict=False):
            if periods := last.periods - first.periods:
                shares.append(100 * (last.throttled - first.throttled) / periods)
    return max(shares)


def memory(root: int) -> tuple[int, int | None]:
    """Return bytes resident (RSS, shared pages counted in each process) and proportional (PSS).

    PSS is None if the kernel does not report it.
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
