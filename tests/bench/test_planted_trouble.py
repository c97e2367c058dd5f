"""Planted trouble, each kind with the real generator, named for what it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tiankong.bench.load import generator
from tiankong.bench.load.sentences import Questions
from tiankong.bench.load.target import Target
from tiankong.bench.serving.served import Served, started
from tiankong.bench.sweep.measure import Window, measure
from tiankong.toolkit import cgroup
from tiankong.toolkit.processes import end_with_parent, free_port
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.validity import doubts

TEXTS = ["疑是地[MASK]霜。", "天气真[MASK]。"]
RIGHT = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005)]
QUESTIONS = Questions(TEXTS, [RIGHT, RIGHT])
FAKE = Path(__file__).parent / "fake_server.py"
BUSY = "while True: pass"


@contextmanager
def fake(*mood: str) -> Iterator[Served]:
    """The reference server around a fake predictor (see fake_server.py)."""
    port = free_port()
    with started("the fake server", [sys.executable, str(FAKE), str(port), *mood], {}) as process:
        process.await_ready(f"http://127.0.0.1:{port}/health/ready")
        yield Served(Target(f"http://127.0.0.1:{port}"), process.pid, 0.0, None)


@contextmanager
def busy(cpu: int, count: int = 1) -> Iterator[None]:
    """So many processes at work on one core."""

    def settle() -> None:
        end_with_parent()
        os.sched_setaffinity(0, {cpu})

    with ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", BUSY], preexec_fn=settle)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


def cell(server: Served, users: int = 2, seconds: float = 3.0, rate: float | None = None) -> Cell:
    point = Point("fake", "reference", Load(users, rate))
    return measure(point, server, QUESTIONS, Window(seconds, 0.5))


def invalid(measured: Cell) -> set[str]:
    return {warn.code for warn in doubts(measured) if warn.invalidates}


def test_a_competing_process() -> None:
    with fake("--work", "0.002") as server, busy(min(os.sched_getaffinity(0))):
        assert "machine-busy" in invalid(cell(server))


def test_a_generator_on_a_core_that_others_keep_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = max(os.sched_getaffinity(0))

    def pinned() -> None:
        end_with_parent()
        os.sched_setaffinity(0, {cpu})

    monkeypatch.setattr(generator, "end_with_parent", pinned)
    with fake() as server, busy(cpu):
        found = invalid(cell(server, users=1))
    assert found & {"generator-starved", "generator-saturated"}


def test_a_server_that_gives_wrong_answers_quickly() -> None:
    with fake("--wrong") as server:
        measured = cell(server)
    assert measured.latencies_ms == []
    assert measured.wrong > 50
    assert "wrong-answers" in invalid(measured)


def test_one_error_in_a_hundred() -> None:
    with fake("--errors", "100") as server:
        measured = cell(server)
    assert 0.005 < measured.failed / measured.requests < 0.02
    assert "failures" in invalid(measured)
    assert "wrong-answers" not in invalid(measured)


@pytest.fixture
def quota() -> Iterator[Path]:
    """A cgroup with a third of a core, where we may make one."""
    root = next((cgroup.MOUNT / n for n in cgroup.V1_NAMES if (cgroup.MOUNT / n).is_dir()), None)
    folder = (root or cgroup.MOUNT) / f"tiankong-test-{os.getpid()}"
    try:
        folder.mkdir()
        if root is None:
            (folder / "cpu.max").write_text("30000 100000")
        else:
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text("30000")
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        pytest.skip(f"no cgroup can be made here: {error}")
    yield folder
    for _ in range(50):
        try:
            folder.rmdir()
        except OSError:
            time.sleep(0.1)
        else:
            return


def test_a_cpu_quota(quota: Path) -> None:
    with fake("--work", "0.005") as server:
        (quota / "cgroup.procs").write_text(str(server.pid))
        measured = cell(server)
    assert "throttled" in invalid(measured)
    assert measured.server_quota_percent is not None
    assert measured.server_quota_percent > 50


def test_a_machine_that_changes_while_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    prints = iter([{"usable_cores": 2, "cpu": "x"}, {"usable_cores": 1, "cpu": "x"}])
    monkeypatch.setattr("tiankong.bench.sweep.measure.fingerprint", lambda: next(prints))
    with fake() as server:
        measured = cell(server, seconds=1.0)
    assert measured.changes == ["usable_cores"]
    assert "machine-changed" in invalid(measured)


def test_a_stall_shows_in_an_open_loop_and_a_closed_loop_says_that_it_hides_it() -> None:
    with fake("--stall", "1", "10") as server:
        asked = cell(server, users=0, seconds=12.0, rate=60.0)
        waited = cell(server, users=2, seconds=12.0)
    tail, hidden = asked.percentile_ms(99), waited.percentile_ms(99)
    assert tail is not None
    assert 600 < tail < 1300
    assert hidden is not None
    assert hidden < 200
    assert "hides-stalls" in {warn.code for warn in doubts(waited)}
    assert "hides-stalls" not in {warn.code for warn in doubts(asked)}
