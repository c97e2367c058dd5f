"""What kernels reach in processes that start with one CPU in their affinity mask, or with all.

A process that started with one CPU has been seen to multiply 8-bit matrices at half the speed on a
CPU with AMX, for as long as it lived (docs/performance.md).  So each start is a process of its own,
and both kinds of start are measured in turns.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...toolkit.machine import allowed_cpus
from .kernels.multiplication import Multiplication, open_calls, prepare

SECONDS, LONGEST = 0.25, 60.0
PAIRS = 3  # processes of each kind
SLOWER = 0.8  # of the other kind's speed, at most; and every process slower than every other
ONE, ALL = "one CPU", "all CPUs"
# What may differ between the two starts, changed alone: what restores the speed tells the cause.
CHANGES: Mapping[str, Mapping[str, str]] = {
    "OPENBLAS_NUM_THREADS=2": {"OPENBLAS_NUM_THREADS": "2"},
    "MALLOC_TOP_PAD_=67108864": {"MALLOC_TOP_PAD_": "67108864"},
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    "a longer environment": {"TIANKONG_PADDING": "x" * 2072},
}
GET_RIGHTS, TILES = 0x1022, 18  # arch_prctl(ARCH_GET_XCOMP_PERM), the bit of AMX's tile registers
PRCTL = {"x86_64": 158}


@dataclass(frozen=True)
class Start:
    """One process that multiplied with one thread.

    ``giga`` is its rate by the time of the processor (10^9 operations a second), so that waiting
    for a CPU that others use does not count; ``busy`` is that time as a share of what passed.
    ``tiles``: the process may use AMX's registers (None: not known).
    """

    cpus: int
    giga: float
    busy: float
    tiles: bool | None

    def as_json(self) -> dict[str, Any]:
        """Return the start as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Starts:
    """The starts of a library with one CPU in the mask, and with all.

    ``restored`` names the changes that gave a process with one CPU its speed back.
    """

    cell: Multiplication
    one: Sequence[Start]
    whole: Sequence[Start]
    restored: Sequence[str] = ()

    @property
    def one_giga(self) -> float:
        """The median rate of processes that started with one CPU."""
        return statistics.median(start.giga for start in self.one)

    @property
    def whole_giga(self) -> float:
        """The median rate of processes that started with all CPUs."""
        return statistics.median(start.giga for start in self.whole)

    @property
    def ratio(self) -> float:
        """The speed with one CPU as a share of the speed with all."""
        return self.one_giga / self.whole_giga

    @property
    def slower(self) -> bool:
        """Whether a start with one CPU is slower beyond noise: every one, and clearly."""
        if len(self.one) < PAIRS or len(self.whole) < PAIRS or self.whole[0].cpus < 2:
            return False
        apart = max(each.giga for each in self.one) < min(each.giga for each in self.whole)
        return apart and self.ratio <= SLOWER

    @property
    def tiles(self) -> bool | None:
        """Whether processes that started with all CPUs may use AMX's registers."""
        return self.whole[0].tiles

    def as_json(self) -> dict[str, Any]:
        """Return the starts as a JSON object."""
        return {
            "library": self.cell.library,
            "precision": self.cell.precision,
            "kernel": self.cell.words,
            "one_cpu": [start.as_json() for start in self.one],
            "all_cpus": [start.as_json() for start in self.whole],
            "ratio": self.ratio,
            "restored_by": list(self.restored),
        }


def measure_starts(cell: Multiplication, pairs: int = PAIRS) -> Starts | None:
    """Measure a multiplication in processes of both kinds, in turns; None where none can start.

    If those with one CPU are slower, further ones with one thing changed look for the cause.
    """
    alone = replace(cell, callers=1, threads=1)
    everything = range(os.cpu_count() or 1)
    last = allowed_cpus()[-1]
    one, whole = [], []
    for _ in range(pairs):
        one.append(_start(alone, {last}))
        whole.append(_start(alone, everything))
    found = Starts(alone, _there(one), _there(whole))
    if not found.one or not found.whole:
        return None
    if not found.slower:
        return found
    least = SLOWER * found.whole_giga
    restored = [
        name
        for name, change in CHANGES.items()
        if (start := _start(alone, {last}, change)) is not None and start.giga > least
    ]
    return replace(found, restored=restored)


def _there(starts: Sequence[Start | None]) -> list[Start]:
    return [start for start in starts if start is not None]


def _start(
    cell: Multiplication, cpus: Collection[int], change: Mapping[str, str] | None = None
) -> Start | None:
    """Return what a process measured that started with these CPUs in its mask."""
    command = [sys.executable, "-m", __name__, json.dumps(asdict(cell))]
    said: list[str] = []

    def run() -> None:
        # A process inherits the mask of the thread that starts it: this one ends with it.
        try:
            os.sched_setaffinity(0, cpus)
            ran = subprocess.run(
                command, env=os.environ | (change or {}), capture_output=True, text=True,
                timeout=LONGEST, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return
        said.append(ran.stdout)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return Start(**json.loads(said[0].splitlines()[-1])) if said else None


def may_use_tiles() -> bool | None:
    """Tell whether this process may use AMX's registers, which a library asks the kernel for.

    None: not known (not Linux on x86, or a kernel before 5.16).
    """
    number = PRCTL.get(platform.machine())
    if number is None or sys.platform != "linux":
        return None
    rights = ctypes.c_uint64(0)
    system = ctypes.CDLL(None, use_errno=True)
    if system.syscall(number, GET_RIGHTS, ctypes.byref(rights)) != 0:
        return None
    return bool(rights.value >> TILES & 1)


def main() -> None:
    """Measure the multiplication that the first argument describes, and print what was found."""
    cell = Multiplication(**json.loads(sys.argv[1]))
    prepare(cell)
    (call,), _ = open_calls(cell)
    for _ in range(cell.weights):
        call()
    begun, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < SECONDS:
        call()
        count += 1
    passed, used = time.perf_counter() - begun, time.process_time() - used
    start = Start(len(allowed_cpus()), cell.giga * count / used, used / passed, may_use_tiles())
    print(json.dumps(start.as_json()))


if __name__ == "__main__":
    main()
