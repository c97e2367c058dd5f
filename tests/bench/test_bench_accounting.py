from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tiankong.bench.accounting import Snapshot, memory, processes, snapshot, usage
from tiankong.toolkit.machine import usable_cores

CHILD = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until:
        pass
    print("done", flush=True)
"""
MEBIBYTE = 1024 * 1024


class Child:
    """A process that burns CPU when asked."""

    def __init__(self, before: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._hear()

    def burn(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self._hear()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def start(before: str = "") -> Child:
        started.append(Child(before))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def gone() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_server_that_burns_is_counted_as_server(child: Callable[..., Child]) -> None:
    server, generator = child(), child()
    before = snapshot(server.process.pid, generator.process.pid)
    server.burn(0.5)
    after = snapshot(server.process.pid, generator.process.pid)
    used = usage(before, after)
    seconds = after.clock - before.clock
    assert after.server - before.server == pytest.approx(0.5, abs=0.06)
    assert used.server == pytest.approx(
        100 * (after.server - before.server) / seconds / usable_cores()
    )
    assert used.server <= 100 / usable_cores() + 5
    assert used.generator < 2
    assert used.generator_core < 4


def test_a_third_process_is_counted_as_other(child: Callable[..., Child]) -> None:
    server, generator, neighbour = child(), child(), child()
    before = snapshot(server.process.pid, generator.process.pid)
    neighbour.burn(0.5)
    after = snapshot(server.process.pid, generator.process.pid)
    used = usage(before, after)
    seconds = after.clock - before.clock
    assert used.server < 2
    assert used.generator < 2
    assert used.other * seconds * usable_cores() / 100 >= 0.4


def test_the_children_of_the_server_count_too(child: Callable[..., Child]) -> None:
    parent = child("import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'])\n")
    assert len(processes(parent.process.pid)) == 2


def test_shares_of_made_up_snapshots() -> None:
    cores = usable_cores()
    before = Snapshot(clock=10, server=1, generator=2, own=0, busy=100, stolen=5)
    after = Snapshot(clock=12, server=2, generator=2.5, own=0.25, busy=103, stolen=5.2)
    used = usage(before, after)
    assert used.server == pytest.approx(50 / cores)
    assert used.generator == pytest.approx(25 / cores)
    assert used.generator_core == pytest.approx(25)
    assert used.other == pytest.approx(62.5 / cores)
    assert used.steal == pytest.approx(10 / cores)


def test_memory_grows_with_what_a_child_holds(child: Callable[..., Child]) -> None:
    small, large = child(), child("held = bytearray(b'x' * (64 * 1024 * 1024))\n")
    grown = memory(large.process.pid)[0] - memory(small.process.pid)[0]
    assert grown == pytest.approx(64 * MEBIBYTE, rel=0.1)
    resident, proportional = memory(large.process.pid)
    assert proportional is not None
    assert 60 * MEBIBYTE < proportional <= resident


def test_a_process_that_is_gone_counts_nothing() -> None:
    pid = gone()
    assert processes(pid) == []
    assert memory(pid)[0] == 0
    taken = snapshot(pid, pid)
    assert (taken.server, taken.generator) == (0, 0)
    assert taken.own > 0
    assert os.getpid() != pid
