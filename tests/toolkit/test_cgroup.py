"""Quotas and throttling of v2 and v1, also of parents and inside containers."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tiankong.toolkit import cgroup
from tiankong.toolkit.cgroup import Throttling, quota, throttling

V1_LINES = "9:name=systemd:/box\n4:memory:/box\n2:cpu,cpuacct:{path}\n0::/\n"


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty mount of the cgroup file system."""
    monkeypatch.setattr(cgroup, "MOUNT", tmp_path / "mount")
    monkeypatch.setattr(cgroup, "PROC", tmp_path / "proc")
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


@pytest.fixture
def of_process(mount: Path) -> Callable[..., None]:
    """Return a function that writes a process's ``/proc/<pid>/cgroup``."""

    def write(lines: str, pid: int | str = "self") -> None:
        folder = mount.parent / "proc" / str(pid)
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(lines)

    return write


def put(folder: Path, **files: str) -> None:
    """Write a group's files (``cpu_max`` is ``cpu.max``)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(content)


def stat(periods: int, throttled: int) -> str:
    return f"usage_usec 12\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec 7\n"


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", None),
        ("150000 100000\n", 1.5),
        ("50000 100000", 0.5),
        ("max\n", None),
        ("", None),
        ("many 100000\n", None),
    ],
)
def test_quota_of_v2(
    mount: Path, of_process: Callable[..., None], content: str, cores: float | None
) -> None:
    of_process("0::/box\n")
    put(mount / "box", cpu_max=content)
    assert quota() == cores


@pytest.mark.parametrize(("limit", "cores"), [("-1", None), ("250000\n", 2.5), ("0", None)])
def test_quota_of_v1(
    mount: Path, of_process: Callable[..., None], limit: str, cores: float | None
) -> None:
    of_process(V1_LINES.format(path="/box"))
    put(mount / "cpu,cpuacct" / "box", cpu_cfs_quota_us=limit, cpu_cfs_period_us="100000\n")
    assert quota() == cores


@pytest.mark.parametrize("name", cgroup.V1_NAMES)
def test_every_name_of_v1s_cpu_controller_is_found(
    mount: Path, of_process: Callable[..., None], name: str
) -> None:
    of_process(V1_LINES.format(path="/"))
    put(mount / name, cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert quota() == 0.5


def test_groups_of_other_controllers_do_not_count(
    mount: Path, of_process: Callable[..., None]
) -> None:
    of_process("5:cpuset:/box\n4:cpuacct:/box\n3:memory:/box\n")
    for name in ("cpuset", "cpuacct", "memory", "cpu"):
        put(mount / name / "box", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert quota() is None


@pytest.mark.parametrize(
    ("own", "parent", "root", "cores"),
    [
        ("max 100000", "200000 100000", "max 100000", 2.0),
        ("100000 100000", "200000 100000", "max 100000", 1.0),
        ("300000 100000", "200000 100000", "50000 100000", 0.5),
        ("max 100000", "max 100000", "max 100000", None),
    ],
)
def test_the_tightest_quota_up_to_the_mount_counts(
    mount: Path, of_process: Callable[..., None], own: str, parent: str, root: str,
    cores: float | None,
) -> None:  # fmt: skip
    of_process("0::/outer/inner\n")
    put(mount / "outer" / "inner", cpu_max=own)
    put(mount / "outer", cpu_max=parent)
    put(mount, cpu_max=root)
    assert quota() == cores


def test_parents_of_v1_count_too(mount: Path, of_process: Callable[..., None]) -> None:
    of_process(V1_LINES.format(path="/outer/inner"))
    for place, limit in (("outer", "150000"), ("outer/inner", "-1")):
        put(mount / "cpu" / place, cpu_cfs_quota_us=limit, cpu_cfs_period_us="100000")
    assert quota() == 1.5


def test_nothing_above_the_mount_is_read(mount: Path, of_process: Callable[..., None]) -> None:
    of_process("0::/box\n")
    put(mount / "box", cpu_max="max 100000")
    put(mount.parent, cpu_max="10000 100000")
    assert quota() is None


@pytest.mark.parametrize("lines", ["0::/docker/abc\n", V1_LINES.format(path="/docker/abc")])
def test_a_path_of_the_host_falls_back_to_the_mount(
    mount: Path, of_process: Callable[..., None], lines: str
) -> None:
    of_process(lines)
    put(mount, cpu_max="150000 100000", cpu_stat=stat(8, 2))
    put(mount / "cpu", cpu_cfs_quota_us="150000", cpu_cfs_period_us="100000")
    put(mount / "cpu", cpu_stat=stat(8, 2))
    assert quota() == 1.5
    assert throttling()[0] == Throttling(8, 2)


def test_a_namesake_of_the_hosts_folder_does_not_count(
    mount: Path, of_process: Callable[..., None]
) -> None:
    of_process("0::/docker/abc\n")  # the host's path; the folder "docker" here is a different one
    put(mount, cpu_max="150000 100000")
    put(mount / "docker", cpu_max="10000 100000")
    assert quota() == 1.5


def test_a_path_out_of_the_mount_comes_to_an_end(
    mount: Path, of_process: Callable[..., None]
) -> None:
    of_process("0::/..\n")  # as for a process of another cgroup namespace
    put(mount, cpu_max="150000 100000")
    assert quota() == 1.5


def test_no_cgroup_no_quota(mount: Path, of_process: Callable[..., None]) -> None:
    assert (quota(), throttling()) == (None, [])
    of_process("0::/box\n")
    assert (quota(), throttling()) == (None, [])


def test_each_process_has_its_own(mount: Path, of_process: Callable[..., None]) -> None:
    for pid, name, limit in ((11, "a", 100000), (12, "b", 200000)):
        of_process(f"0::/{name}\n", pid)
        put(mount / name, cpu_max=f"{limit} 100000", cpu_stat=stat(limit, 3))
    assert (quota(11), quota(12), quota(13)) == (1.0, 2.0, None)
    assert throttling(12) == [Throttling(200000, 3)]
    assert throttling(13) == []


def test_throttling_of_a_group_and_its_parents_its_own_first(
    mount: Path, of_process: Callable[..., None]
) -> None:
    of_process("0::/outer/inner\n")
    put(mount / "outer" / "inner", cpu_stat=stat(10, 1))
    put(mount / "outer", cpu_stat=stat(20, 2))
    put(mount, cpu_stat="usage_usec 12\n")  # v2's root counts no periods
    assert throttling() == [Throttling(10, 1), Throttling(20, 2)]


@pytest.mark.parametrize("content", ["", "nr_periods 5\n", "nr_periods five\n", "a b c\n"])
def test_counters_that_cannot_be_read_are_left_out(
    mount: Path, of_process: Callable[..., None], content: str
) -> None:
    of_process("0::/box\n")
    put(mount / "box", cpu_stat=content)
    assert throttling() == []


def test_this_machine_can_be_read() -> None:
    cores = quota()
    assert cores is None or cores > 0
    for counters in throttling(os.getpid()):
        assert 0 <= counters.throttled <= counters.periods
