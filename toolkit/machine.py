"""The machine's fingerprint, which every run file and manifest contains."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .cgroup import quota

LIBRARIES = (
    "tiankong",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "tokenizers",
    "numpy",
    "starlette",
    "uvicorn",
    "flask",
    "gunicorn",
    "locust",
)
ISA_FLAGS = (
    *("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16"),  # ARM's
)
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
# Keys of /proc/cpuinfo on x86, and the keys with the same meaning on ARM.
FAMILY = (("cpu family", "CPU implementer"), ("model", "CPU part"))
CPUS = Path("/sys/devices/system/cpu")
# What decides a CPU's frequency: of each CPU (cpufreq), and of all together.
POLICY = {
    "driver": "scaling_driver",
    "governor": "scaling_governor",
    "preference": "energy_performance_preference",
    "lowest_khz": "scaling_min_freq",
    "highest_khz": "scaling_max_freq",
}
TURBO = {"intel_pstate/no_turbo": ("0", "1"), "cpufreq/boost": ("1", "0")}  # on, off


def allowed_cpus() -> list[int]:
    """Return the numbers of the CPUs this process may run on (its affinity mask)."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return how many cores this process may use, by affinity mask and cgroup quota."""
    cores = len(allowed_cpus())
    limit = quota()
    return max(1, min(cores, int(limit) if limit else cores))


def whole_cores_first(cpus: Sequence[int]) -> list[int]:
    """Return CPUs in an order that takes one hardware thread of every core before its siblings.

    The first n of them are n cores where there are so many.  Without word from the kernel the order
    stays as it is.
    """
    taken: dict[frozenset[int], int] = {}
    turns = []
    for cpu in cpus:
        core = frozenset(_siblings(cpu))
        turns.append((taken.get(core, 0), cpu))
        taken[core] = taken.get(core, 0) + 1
    return [cpu for _, cpu in sorted(turns, key=lambda turn: turn[0])]


def whole_cores(cpus: Sequence[int]) -> int:
    """Return how many cores these CPUs are: hardware threads of one core count once.

    Without word from the kernel each CPU counts as a core.
    """
    return len({frozenset(_siblings(cpu)) for cpu in cpus})


def fingerprint() -> dict[str, Any]:
    """Return CPU, instruction sets, cores, memory, kernel, and Python (JSON-ready).

    ``frequency`` is there where the kernel tells what decides the CPUs' frequency.
    """
    # Imported here: servers call other functions of this module and need neither.
    import platform

    import psutil

    flags = _flags(_cpuinfo())
    return processor() | {
        "logical_cpus": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads_per_core": threads_per_core(),
        "cgroup_quota_cores": quota(),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": f"{platform.system()} {platform.release()}",
        "hypervisor": "hypervisor" in flags,
        "python": platform.python_version(),
        **({"frequency": policy} if (policy := frequency_policy()) else {}),
    }


def frequency_policy() -> dict[str, str | bool]:
    """Return what decides the usable CPUs' frequency, as far as the kernel tells.

    Each of ``POLICY`` has its value, several (separated by commas) if the CPUs differ; ``turbo``
    says whether the CPU may exceed its nominal frequency.  See the kernel's documentation,
    admin-guide/pm/cpufreq and intel_pstate.
    """
    policy: dict[str, str | bool] = {}
    for name, file in POLICY.items():
        told = {_word(CPUS / f"cpu{cpu}" / "cpufreq" / file) for cpu in allowed_cpus()} - {""}
        if told:
            policy[name] = ",".join(sorted(told))
    for file, (on, off) in TURBO.items():
        if (word := _word(CPUS / file)) in (on, off):
            policy["turbo"] = word == on
    return policy


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def processor() -> dict[str, Any]:
    """Return the part of the fingerprint that decides which kernels an engine chooses."""
    cpu = _cpuinfo()
    flags = _flags(cpu)
    return {
        "cpu": cpu.get("model name") or _architecture_name(),
        "cpu_family": "/".join(cpu.get(x86, cpu.get(arm, "?")) for x86, arm in FAMILY),
        "architecture": os.uname().machine,
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
    }


def _architecture_name() -> str:
    from platform import processor as platform_processor  # slow: it may run a program

    return platform_processor() or "unknown"


def _flags(cpu: Mapping[str, str]) -> set[str]:
    return set(cpu.get("flags", cpu.get("Features", "")).split())


def digest(machine: Mapping[str, Any]) -> str:
    """Return a short digest of a fingerprint (the same after it was stored as JSON)."""
    text = json.dumps(machine, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def threads_per_core() -> int | None:
    """Return hardware threads per physical core (None if the kernel does not report it)."""
    told = _word(CPUS / "cpu0" / "topology" / "thread_siblings_list")
    return len(_siblings(0)) if told else None


def _siblings(cpu: int) -> list[int]:
    """Return the hardware threads of a CPU's core, itself included."""
    topology = CPUS / f"cpu{cpu}" / "topology"
    told = _word(topology / "core_cpus_list") or _word(topology / "thread_siblings_list")
    siblings = [cpu]
    for group in told.split(",") if told else ():
        first, _, last = group.partition("-")
        siblings += range(int(first), int(last or first) + 1)
    return sorted(set(siblings))


def versions(*others: str) -> dict[str, str]:
    """Return the versions of the installed libraries that decide speed and answers.

    ``others`` are further distributions, such as those of an engine that a package brings.
    """
    from importlib import metadata

    installed = {}
    for name in dict.fromkeys((*LIBRARIES, *others)):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_bytes() -> int:
    """Return the bytes of the first CPU's largest cache (0: unknown)."""
    sizes = [0]
    for path in (CPUS / "cpu0" / "cache").glob("index*/size"):
        try:
            text = path.read_text().strip()
            sizes.append(int(text.rstrip("KMG")) * UNITS.get(text[-1:], 1))
        except (OSError, ValueError):
            continue
    return max(sizes)
