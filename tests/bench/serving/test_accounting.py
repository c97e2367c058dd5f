from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tiankong.bench.serving import accounting
from tiankong.bench.serving.accounting import Counters, memory, processes, snapshot, usage
from tiankong.bench.serving.energy import Counter
from tiankong.toolkit.cgroup import Throttling
from tiankong.toolkit.files import MEBIBYTE
from tiankong.toolkit.machine import allowed_cpus

CHILD = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    until = time.process_time() + float(line)
    while time.process_time() < until:
        pass
    print("done", flush=True)
"""


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


def test_of_an_unknown_server_the_others_are_not_known_either() -> None:
    used = usage(snapshot(None), snapshot(None))
    assert (used.server, used.server_quota, used.other) == (None, None, None)
    assert used.others == used.steal


def test_a_server_that_burns_is_counted_as_server(child: Callable[..., Child]) -> None:
    server, generator = child(), child()
    before = snapshot([server.process.pid], generator.process.pid)
    server.burn(0.5)
    after = snapshot([server.process.pid], generator.process.pid)
    used = usage(before, after)
    seconds = after.clock - before.clock
    assert after.server - before.server == pytest.approx(0.5, abs=0.06)
    assert used.server == pytest.approx(
        100 * (after.server - before.server) / seconds / len(allowed_cpus())
    )
    assert used.server <= 100 / len(allowed_cpus()) + 5
    assert used.generator < 2


def test_a_third_process_is_counted_as_other(child: Callable[..., Child]) -> None:
    server, generator, neighbour = child(), child(), child()
    before = snapshot([server.process.pid], generator.process.pid)
    neighbour.burn(0.5)
    after = snapshot([server.process.pid], generator.process.pid)
    used = usage(before, after)
    seconds = after.clock - before.clock
    assert used.server < 2
    assert used.generator < 2
    assert used.other * seconds * len(allowed_cpus()) / 100 >= 0.4


def test_our_own_work_is_not_that_of_others(child: Callable[..., Child]) -> None:
    """As a variant is explained: no server and no generator, all work is in our own process."""

    def taken(work: Callable[[float], None]) -> tuple[float, float]:
        """Return the seconds of others and our own while some work ran."""
        before = snapshot()
        work(0.5)
        after = snapshot()
        whole = (after.clock - before.clock) * len(allowed_cpus()) / 100
        return usage(before, after).others * whole, after.own - before.own

    def ours(seconds: float) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    others, own = taken(child().burn)
    assert others >= 0.4
    assert own < 0.2
    assert taken(ours)[1] == pytest.approx(0.5, abs=0.1)


def test_the_children_of_the_server_count_too(child: Callable[..., Child]) -> None:
    parent = child("import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()'])\n")
    assert len(processes(parent.process.pid)) == 2


def test_several_servers_are_counted_together(child: Callable[..., Child]) -> None:
    first, second, generator = child(), child(), child()
    pids = [first.process.pid, second.process.pid]
    before = snapshot(pids, generator.process.pid)
    first.burn(0.2)
    second.burn(0.2)
    after = snapshot(pids, generator.process.pid)
    assert after.server - before.server == pytest.approx(0.4, abs=0.06)
    assert set(after.throttling) == {*pids, generator.process.pid}


def test_a_server_elsewhere_uses_nothing_here(child: Callable[..., Child]) -> None:
    generator = child()
    taken = snapshot([], generator.process.pid)
    assert (taken.server, taken.quota) == (0, None)
    assert usage(taken, snapshot([], generator.process.pid)).server == 0


def at(
    clock: float = 0.0, server: float = 0.0, generator: float = 0.0, own: float = 0.0,
    busy: float = 0.0, stolen: float = 0.0, swapped: int = 0,
    throttling: dict[int, list[Throttling]] | None = None, energy: dict[str, Counter] | None = None,
    quota: float | None = None,
) -> Counters:  # fmt: skip
    """Return a made-up snapshot."""
    return Counters(
        clock, server, generator, own, busy, stolen, swapped, throttling or {}, energy or {}, quota
    )


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "allowed_cpus", lambda: [0, 1, 2, 3])


@pytest.mark.usefixtures("four_cpus")
def test_shares_of_made_up_snapshots() -> None:
    before = at(clock=10, server=1, generator=2, own=0, busy=100, stolen=5)
    after = at(clock=12, server=2, generator=2.5, own=0.25, busy=103, stolen=5.2)
    used = usage(before, after)
    assert used.server == pytest.approx(12.5)
    assert used.generator == pytest.approx(6.25)
    assert used.other == pytest.approx(100 * 1.25 / 8)  # 3 s less 1, 0.5 and our own 0.25
    assert used.steal == pytest.approx(2.5)
    assert (used.server_quota, used.joules) == (None, None)
    assert (used.throttled, used.swapped) == (0, 0)


@pytest.mark.usefixtures("four_cpus")
def test_counters_read_in_turn_give_no_negative_share() -> None:
    used = usage(at(busy=10, swapped=7, stolen=1), at(clock=1, server=1, busy=10.9, stolen=0.9))
    assert (used.other, used.steal, used.swapped) == (0, 0, 0)


@pytest.mark.usefixtures("four_cpus")
def test_the_servers_share_of_its_quota() -> None:
    used = usage(at(quota=1.5), at(clock=2, server=2.4, quota=1.5))
    assert used.server_quota == pytest.approx(80)
    assert used.server == pytest.approx(30)


def test_swapping_is_counted_in_bytes() -> None:
    assert usage(at(swapped=4096), at(clock=1, swapped=12288)).swapped == 8192


def test_energy_between_two_snapshots() -> None:
    before, after = Counter(1_000_000, 10_000_000), Counter(3_500_000, 10_000_000)
    used = usage(at(energy={"intel-rapl:0": before}), at(clock=1, energy={"intel-rapl:0": after}))
    assert used.joules == 2.5


def test_the_most_throttled_group_counts() -> None:
    before = {1: [Throttling(100, 10), Throttling(500, 0)], 2: [Throttling(0, 0)]}
    after = {1: [Throttling(200, 15), Throttling(600, 20)], 2: [Throttling(100, 1)]}
    assert usage(at(throttling=before), at(clock=1, throttling=after)).throttled == 20


def test_no_period_no_throttling() -> None:
    same = {1: [Throttling(100, 10)], 2: []}
    assert usage(at(throttling=same), at(clock=1, throttling=same)).throttled == 0
    gone = {3: [Throttling(100, 90)]}
    assert usage(at(throttling=same), at(clock=1, throttling=gone)).throttled == 0


def test_the_tightest_quota_of_the_servers_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    quotas = {11: 2.0, 12: 1.5, 13: None, 14: 0.5}
    monkeypatch.setattr(accounting, "quota", quotas.get)
    monkeypatch.setattr(accounting, "throttling", lambda _: [])
    monkeypatch.setattr(accounting, "processes", lambda _: [])
    assert snapshot([11, 12, 13], 14).quota == 1.5  # 14 is the generator
    assert snapshot([13], 14).quota is None


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
    taken = snapshot([pid], pid)
    assert (taken.server, taken.generator) == (0, 0)
    assert taken.throttling == {pid: []}
    assert taken.own > 0
    assert os.getpid() != pid
