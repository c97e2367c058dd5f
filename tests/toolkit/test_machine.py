"""Cores this process may use, quotas, the fingerprint."""

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
    monkeypatch.setattr(machine, "quota", lambda: quota)
    assert machine.usable_cores() == usable


def test_the_affinity_mask_names_the_cpus_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 2, 3}, raising=False)
    assert machine.allowed_cpus() == [2, 3, 5]


def test_without_an_affinity_mask_all_cpus_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert machine.allowed_cpus() == [0, 1, 2]


def test_the_fingerprint_has_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "quota", lambda: 1.5)
    assert machine.fingerprint()["cgroup_quota_cores"] == 1.5


def test_the_digest_is_that_of_what_json_gives_back() -> None:
    here = machine.fingerprint()
    assert machine.digest(json.loads(json.dumps(here))) == machine.digest(here)
    assert machine.digest(dict(reversed(list(here.items())))) == machine.digest(here)
    assert machine.digest(here | {"kernel": "another"}) != machine.digest(here)


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


def test_one_arm_cpu_is_not_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def cpu(part: str, features: str) -> dict[str, object]:
        lines = f"Features\t: fp {features}", "CPU implementer\t: 0x41", f"CPU part\t: {part}"
        text = "\n".join(lines)
        monkeypatch.setattr(Path, "read_text", lambda *_, **__: text)
        return machine.processor()

    graviton2, graviton3 = cpu("0xd0c", "asimddp"), cpu("0xd40", "asimddp bf16 i8mm sve")
    assert graviton2["cpu_family"] == "0x41/0xd0c"
    assert (graviton2["isa"], graviton3["isa"]) == (
        ["asimddp"], ["asimddp", "i8mm", "bf16", "sve"]
    )  # fmt: skip


@pytest.mark.parametrize(("content", "threads"), [("0\n", 1), ("0-1\n", 2), ("0,64\n", 2)])
def test_threads_per_core(monkeypatch: pytest.MonkeyPatch, content: str, threads: int) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_args, **_words: content)
    assert machine.threads_per_core() == threads


def test_versions_name_only_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIBRARIES", ("numpy", "surely-not-installed"))
    assert list(machine.versions()) == ["numpy"]


@pytest.fixture
def cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the kernel tells of four hardware threads of two cores."""
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for cpu in range(4):
        told(tmp_path / f"cpu{cpu}/cpufreq/scaling_governor", "powersave")
        told(tmp_path / f"cpu{cpu}/cpufreq/scaling_driver", "intel_pstate")
    told(tmp_path / "intel_pstate/no_turbo", "0")
    return tmp_path


def told(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def test_what_decides_the_frequency_belongs_to_the_fingerprint(cpus: Path) -> None:
    before = machine.fingerprint()
    assert before["frequency"] == {
        "driver": "intel_pstate", "governor": "powersave", "turbo": True
    }  # fmt: skip
    for file, text in {
        "intel_pstate/no_turbo": "1",
        "cpu2/cpufreq/scaling_governor": "performance",
        "cpu0/cpufreq/energy_performance_preference": "balance_power",
        "cpu3/cpufreq/scaling_max_freq": "1200000",
    }.items():
        told(cpus / file, text)
        now = machine.fingerprint()
        assert machine.digest(now) != machine.digest(before)
        before = now
    assert before["frequency"]["governor"] == "performance,powersave"
    assert before["frequency"]["turbo"] is False


def test_boost_is_turbo(cpus: Path) -> None:
    (cpus / "intel_pstate/no_turbo").unlink()
    assert "turbo" not in machine.frequency_policy()
    told(cpus / "cpufreq/boost", "0")
    assert machine.frequency_policy()["turbo"] is False


def test_a_kernel_that_tells_nothing_leaves_the_fingerprint_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "CPUS", tmp_path)
    assert "frequency" not in machine.fingerprint()
    assert machine.whole_cores_first([4, 2, 0]) == [4, 2, 0]


@pytest.mark.parametrize(
    ("siblings", "order"),
    [
        (("0-1", "0-1", "2-3", "2-3"), [0, 2, 1, 3]),
        (("0,2", "1,3", "0,2", "1,3"), [0, 1, 2, 3]),
        (("0-3",) * 4, [0, 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("file", ["core_cpus_list", "thread_siblings_list"])
def test_whole_cores_come_before_siblings(
    cpus: Path, siblings: tuple[str, ...], order: list[int], file: str
) -> None:
    for cpu, text in enumerate(siblings):
        told(cpus / f"cpu{cpu}/topology/{file}", text)
    assert machine.whole_cores_first([0, 1, 2, 3]) == order
    assert machine.whole_cores_first([1, 3]) == [1, 3]
