"""toolkit/machine.py: cores this process may use, quotas, the fingerprint."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tiankong.toolkit import machine


@pytest.mark.parametrize(
    ("cores", "quota", "usable"),
    [(8, None, 8), (8, 2.0, 2), (8, 2.7, 2), (8, 0.5, 1), (2, 16.0, 2), (1, None, 1)],
)
def test_cores_are_the_affinity_mask_capped_by_the_quota(
    monkeypatch: pytest.MonkeyPatch, cores: int, quota: float | None, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(machine, "cgroup_quota", lambda: quota)
    assert machine.usable_cores() == usable


@pytest.mark.parametrize(
    ("content", "quota"), [("max 100000\n", None), ("150000 100000\n", 1.5), ("50000 100000", 0.5)]
)
def test_quota_of_cgroup_v2(monkeypatch: pytest.MonkeyPatch, content: str, quota: float) -> None:
    monkeypatch.setattr(machine, "_cgroup_v2", lambda _: content)
    assert machine.cgroup_quota() == quota


@pytest.mark.parametrize(("limit", "quota"), [("-1", None), ("250000", 2.5)])
def test_quota_of_cgroup_v1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, quota: float | None
) -> None:
    def none(_: str) -> str:
        raise OSError("no cgroup v2")

    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    monkeypatch.setattr(machine, "_cgroup_v2", none)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cgroup_quota() == quota


def test_no_cgroup_no_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cgroup_quota() is None


def test_the_fingerprint_is_json_and_stays_the_same() -> None:
    first = machine.fingerprint()
    assert json.loads(json.dumps(first)) == first == machine.fingerprint()
    assert first["usable_cores"] >= 1
    assert first["memory_bytes"] > 0
    assert set(first["isa"]) <= set(machine.ISA_FLAGS)


def test_a_machine_without_proc_still_has_a_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, *args: object, **kwargs: object) -> str:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", missing)
    assert machine.fingerprint()["isa"] == []
    assert machine.threads_per_core() is None


@pytest.mark.parametrize(("content", "threads"), [("0\n", 1), ("0-1\n", 2), ("0,64\n", 2)])
def test_threads_per_core(monkeypatch: pytest.MonkeyPatch, content: str, threads: int) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_words: content)
    assert machine.threads_per_core() == threads


def test_versions_name_only_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIBRARIES", ("numpy", "surely-not-installed"))
    assert list(machine.versions()) == ["numpy"]
