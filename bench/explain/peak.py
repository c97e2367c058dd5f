"""What a CPU could compute at most: operations a cycle of its units, times cycles a second.

The operations a cycle of a core are known for some microarchitectures only; for the others a peak
is said to be unknown.  Sources:

* Intel: "Intel 64 and IA-32 Architectures Optimization Reference Manual" (AVX-512: two units of
  512 bits on the server models; AMX: 2,048 operations a cycle in 8 bits, 1,024 in BF16) and
  https://uops.info (VPDPBUSD, VFMADD231PS).  Xeons of the generations Skylake to Cascade Lake that
  are named Bronze, Silver or Gold 5xxx may have one unit only: half of what stands here.
* AMD: "Software Optimization Guide" of the families 17h, 19h (57647: units of 256 bits) and 1Ah
  (58455: of 512 bits; those of notebooks of 256), and https://uops.info.  For Zen 4 one
  VFMADD231PS, VPDPBUSD or VDPBF16PS of 512 bits a cycle was also measured (registers only).
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .workload import BF16, FP32, INT8

INSTRUCTIONS: Mapping[str, Sequence[tuple[str, str]]] = {
    FP32: (("avx512f", "AVX-512 FMA"), ("avx2", "AVX2 FMA")),
    INT8: (("amx_int8", "AMX"), ("avx512_vnni", "AVX-512 VNNI"), ("avx_vnni", "AVX-VNNI")),
    BF16: (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 BF16")),
}
"""By precision, (flag, name) of the instructions that multiply and add, the widest first."""
UNKNOWN_UNITS = "operations a cycle are not known for this microarchitecture"
NO_CYCLES = "cycles cannot be counted here"


@dataclass(frozen=True)
class Microarchitecture:
    """A kind of core: its name, its models, and operations a cycle by the flag of instructions.

    ``models`` are (family, models) as /proc/cpuinfo numbers them (the kernel's intel-family.h,
    arch/x86/kernel/cpu/amd.c).
    """

    name: str
    family: int
    models: Collection[int]
    operations: Mapping[str, int]


AVX2, AVX512 = {"avx2": 32}, {"avx2": 32, "avx512f": 64, "avx512_vnni": 256}
AMX = AVX512 | {"amx_int8": 2048, "amx_bf16": 1024}
ZEN4 = {"avx2": 32, "avx512f": 32, "avx512_vnni": 128, "avx512_bf16": 64}
ZEN5 = {flag: 2 * each for flag, each in ZEN4.items()} | {"avx2": 32}
KNOWN = (
    Microarchitecture("Intel Haswell or Broadwell", 6, (60, 61, 63, 69, 70, 71, 79, 86), AVX2),
    Microarchitecture("Intel Skylake (client)", 6, (78, 94, 142, 158, 165, 166), AVX2),
    Microarchitecture("Intel Skylake to Cooper Lake (server)", 6, (85,), AVX512),
    Microarchitecture("Intel Ice Lake (server)", 6, (106, 108), AVX512),
    Microarchitecture("Intel Sapphire or Emerald Rapids", 6, (143, 207), AMX),
    Microarchitecture("Intel Granite Rapids", 6, (173, 174), AMX),
    Microarchitecture("AMD Zen", 23, range(0x30), {"avx2": 16}),
    Microarchitecture("AMD Zen 2", 23, range(0x30, 0x100), AVX2),
    Microarchitecture("AMD Zen 3", 25, (*range(0x10), *range(0x20, 0x60)), AVX2),
    Microarchitecture("AMD Zen 4", 25, (*range(0x10, 0x20), *range(0x60, 0xB0)), ZEN4),
    # Of family 1Ah those with units of 512 bits: servers and the desktop.
    Microarchitecture("AMD Zen 5", 26, (*range(0x20), *range(0x40, 0x50)), ZEN5),
)


@dataclass(frozen=True)
class Units:
    """What a core does in a cycle at one precision, and by which instructions."""

    precision: str
    instructions: str
    operations: int


@dataclass
class Peak:
    """The nominal peak of this CPU: the units of a core, and cycles counted while it computed.

    ``clocks`` has for each number of logical CPUs the sum over their cores in each round (10^9
    cycles a second): two hardware threads of a core share its units, and count once.  ``why`` says
    what is not known.
    """

    name: str
    units: Mapping[str, Units]
    clocks: dict[int, list[float]] = field(default_factory=dict)
    why: str = ""

    @classmethod
    def of(cls, machine: Mapping[str, Any]) -> Peak:
        """Return what is known of a machine from its fingerprint, without cycles."""
        core = microarchitecture(machine["cpu_family"])
        if core is None:
            return cls("", {}, why=UNKNOWN_UNITS)
        return cls(core.name, units_of(core, machine["isa"]))

    def add(self, cores: int, gigahertz: Sequence[float], physical: int) -> None:
        """Add a round: the clocks counted at so many logical CPUs, which are ``physical`` cores."""
        total = statistics.fmean(gigahertz) * min(cores, physical)
        self.clocks.setdefault(cores, []).append(total)

    def giga(self, precision: str, cores: int) -> float | None:
        """Return 10^9 operations a second; None if something of it is not known."""
        units, clocks = self.units.get(precision), self.clocks.get(cores)
        return units.operations * max(clocks) if units and clocks else None

    def as_json(self) -> dict[str, Any]:
        """Return the peak as a JSON object; a rate that is not known is left out."""
        return {
            "microarchitecture": self.name,
            "units": [
                {
                    "precision": each.precision,
                    "instructions": each.instructions,
                    "operations_per_cycle": each.operations,
                }
                for each in self.units.values()
            ],
            "giga_cycles_per_second": {str(n): max(each) for n, each in self.clocks.items()},
            "unknown": self.why,
        }


def microarchitecture(cpu_family: str) -> Microarchitecture | None:
    """Return what is known of a CPU by the fingerprint's ``cpu_family``; None if nothing is.

    >>> microarchitecture("25/17").name
    'AMD Zen 4'
    """
    family, _, model = cpu_family.partition("/")
    if not (family.isdecimal() and model.isdecimal()):
        return None
    for core in KNOWN:
        if core.family == int(family) and int(model) in core.models:
            return core
    return None


def units_of(core: Microarchitecture, isa: Collection[str]) -> dict[str, Units]:
    """Return by precision what a core does in a cycle, by the widest instructions it offers.

    A precision whose instructions are there, but whose operations a cycle are not known, has none.
    """
    found: dict[str, Units] = {}
    for precision, instructions in INSTRUCTIONS.items():
        offered = [(flag, name) for flag, name in instructions if flag in isa]
        if offered and (known := core.operations.get(offered[0][0])):
            found[precision] = Units(precision, offered[0][1], known)
    return found
