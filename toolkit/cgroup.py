"""Control groups (v2 and v1): a process's CPU quota, and how often it was throttled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
PROC = Path("/proc")
V1_NAMES = ("cpu", "cpu,cpuacct", "cpuacct,cpu")


@dataclass(frozen=True)
class Throttling:
    """How many enforcement periods have passed, and in how many the group was throttled."""

    periods: int
    throttled: int


def quota(pid: int | str = "self") -> float | None:
    """Return the smallest CPU quota of a process's cgroup and its parents, in cores.

    None if there is no quota.
    """
    quotas = [cores for folder in _folders(pid) if (cores := _cores(folder)) is not None]
    return min(quotas, default=None)


def throttling(pid: int | str = "self") -> list[Throttling]:
    """Return the counters of a process's cgroup and its parents, where they exist."""
    return [counters for folder in _folders(pid) if (counters := _counters(folder)) is not None]


def _folders(pid: int | str) -> Iterator[Path]:
    """Yield the CPU cgroup folders of a process, from its own up to the root of the mount."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        roots = [MOUNT] if not controllers else []
        if "cpu" in controllers.split(","):
            roots = [MOUNT / name for name in V1_NAMES if (MOUNT / name).is_dir()][:1]
        for root in roots:
            folder = root / path.lstrip("/")
            # In a container the path may be the host's, although the mount starts at our own group.
            folder = folder if folder.is_dir() else root
            yield folder
            while folder != root:
                folder = folder.parent
                yield folder


def _cores(folder: Path) -> float | None:
    try:
        limit, period = (folder / "cpu.max").read_text().split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        microseconds = int((folder / "cpu.cfs_quota_us").read_text())
        period_microseconds = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return microseconds / period_microseconds if microseconds > 0 else None


def _counters(folder: Path) -> Throttling | None:
    try:
        lines = (folder / "cpu.stat").read_text().splitlines()
        values = {name: int(value) for name, value in (line.split() for line in lines)}
        return Throttling(values["nr_periods"], values["nr_throttled"])
    except (OSError, ValueError, KeyError):
        return None
