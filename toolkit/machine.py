"""What this machine is: the fingerprint every run and manifest carries."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = (
    "tiankong",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "numpy",
    "fastapi",
    "uvicorn",
    "flask",
    "gunicorn",
    "locust",
)
ISA_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: affinity mask, capped by the cgroup quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cgroup_quota()
    return max(1, min(affinity or 1, int(quota) if quota else affinity or 1))


def cgroup_quota() -> float | None:
    """Return the CPU quota of this process's cgroup (v2, then v1) in cores, None if unlimited."""
    try:
        limit, period = _cgroup_v2("cpu.max").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        quota = int((CGROUP / "cpu/cpu.cfs_quota_us").read_text())
        period_us = int((CGROUP / "cpu/cpu.cfs_period_us").read_text())
        return quota / period_us if quota > 0 else None
    except (OSError, ValueError):
        return None


def _cgroup_v2(name: str) -> str:
    """Return a control file of this process's own cgroup (the mount's root has none)."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return (CGROUP / line[3:].lstrip("/") / name).read_text()
    raise OSError("no cgroup v2")


def fingerprint() -> dict[str, Any]:
    """Return CPU, instruction sets, cores, memory, kernel, and Python (JSON-ready)."""
    cpu = _cpuinfo()
    flags = set(cpu.get("flags", cpu.get("Features", "")).split())
    return {
        "cpu": cpu.get("model name", platform.processor() or "unknown"),
        "cpu_family": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "architecture": platform.machine(),
        "isa": [flag for flag in ISA_FLAGS if flag in flags],
        "logical_cpus": os.cpu_count(),
        "usable_cores": usable_cores(),
        "threads_per_core": threads_per_core(),
        "cgroup_quota_cores": cgroup_quota(),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": f"{platform.system()} {platform.release()}",
        "hypervisor": "hypervisor" in flags,
        "python": platform.python_version(),
    }


def _cpuinfo() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def threads_per_core() -> int | None:
    """Return hardware threads per physical core as the kernel tells it (None if it does not)."""
    siblings = Path("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list")
    try:
        groups = siblings.read_text().strip().split(",")
    except OSError:
        return None
    count = 0
    for group in groups:
        first, _, last = group.partition("-")
        count += int(last or first) - int(first) + 1
    return count


def versions() -> dict[str, str]:
    """Return the versions of the libraries that decide speed and answers, where installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
