"""How many cycles a second a core makes while it computes: counted, not read from its name."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time
from collections.abc import Callable, Sequence

from .kernels.multiplication import Call
from .kernels.rates import side_by_side

ADDS, SAMPLE_CYCLES, SAMPLES = 100, 200_000, 12
X86 = ("x86_64", "AMD64")

# An addition of two registers that waits for the one before: one cycle each on every x86 CPU.  (One
# of a register and a constant would not do: newer CPUs leave it out when they rename registers.)
BEGIN = b"\x31\xc0\xb9\x03\x00\x00\x00"  # xor eax, eax; mov ecx, 3
ADD = b"\x48\x01\xc8"  # add rax, rcx
COUNT_DOWN = b"\x48\xff\xcf\x0f\x85"  # dec rdi; jnz (to the first addition)
RETURN = b"\xc3"


class CycleCounter:
    """A loop of additions in machine code, each of which takes one cycle.

    Raises OSError where a process may not run code that it wrote, NotImplementedError on a CPU that
    is not x86.
    """

    def __init__(self) -> None:
        if os.uname().machine not in X86:
            raise NotImplementedError(os.uname().machine)
        body = ADD * ADDS
        back = struct.pack("<i", -(len(body) + len(COUNT_DOWN) + 4))
        code = BEGIN + body + COUNT_DOWN + back + RETURN
        rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._memory = mmap.mmap(-1, mmap.PAGESIZE, prot=rights)
        self._memory.write(code)
        place = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._run: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_uint64)(place)

    def hertz(self) -> float:
        """Return the cycles a second of this thread's core for a moment (some 50 microseconds)."""
        begun = time.perf_counter()
        self._run(SAMPLE_CYCLES // ADDS)
        return SAMPLE_CYCLES / (time.perf_counter() - begun)


def counter() -> CycleCounter | None:
    """Return a counter; None where there can be none."""
    try:
        return CycleCounter()
    except (OSError, NotImplementedError):
        return None


def gigahertz(
    cycles: CycleCounter, calls: Sequence[Call], prepare: Callable[[], None] = lambda: None
) -> list[float]:
    """Return 10^9 cycles a second of each core while it computes, a core for each of the calls.

    Each thread makes its call and counts cycles in turns: a CPU that slows down for wide
    instructions stays slow for longer than a count takes (some 0.7 ms; Intel's optimization manual,
    chapter on AVX-512).  The best of the samples counts: another process can only take cycles away.
    """

    def sample(call: Call) -> float:
        best = 0.0
        for _ in range(SAMPLES):
            call()
            best = max(best, cycles.hertz())
        return best / 1e9

    return side_by_side(calls, sample, prepare)
