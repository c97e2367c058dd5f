from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from tiankong.bench.compare import rounds as comparing
from tiankong.bench.compare.judgement import CLOSE, RUNNING
from tiankong.bench.compare.rounds import (
    GENERATOR_START_SECONDS,
    LEAST_GENERATIONS,
    LEAST_ROUNDS,
    MOST_GENERATIONS,
    SETTLING_SECONDS,
    Clock,
    CompareTerms,
    Opener,
    compare,
    require_sound,
)
from tiankong.bench.load.generator import Block
from tiankong.bench.load.job import Job
from tiankong.bench.load.sentences import Questions
from tiankong.bench.load.target import Target
from tiankong.bench.serving.served import Served
from tiankong.toolkit.errors import InvalidMeasurementError

NAMES = ("a", "b")
RANKING = [("上", 0.9)]
QUESTIONS = (
    Questions(["一[MASK]", "二[MASK]"], [RANKING, RANKING]),
    Questions(["一[MASK]", "二[MASK]"], [[("下", 0.9)], RANKING]),
)


class Time:
    """A clock that advances only when a test sets it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    monkeypatch.setattr(comparing, "time", fake)
    return fake


def spent(time: Time, seconds: float, start: float, targets: int = 3) -> tuple[float, list[int]]:
    """Simulate a comparison; return its seconds and the rounds of each generation."""
    terms = CompareTerms(seconds=seconds)
    began, clock = time.now, Clock(terms, restarts=True, begun=time.now)
    rounds: list[int] = []
    while not clock.generations or len(rounds) < clock.generations:
        time.now += start
        rounds.append(clock.rounds(start, targets, len(rounds)))
        block = 1.2 * terms.block_seconds  # a block ends with its last answer
        time.now += GENERATOR_START_SECONDS
        time.now += targets * (terms.warmup_seconds + rounds[-1] * block)
    return time.now - began, rounds


@pytest.mark.parametrize("seconds", [30.0, 50.0, 120.0, 600.0])
@pytest.mark.parametrize("start", [0.5, 2.0, 5.0])
def test_a_comparison_takes_the_time_it_is_given(time: Time, seconds: float, start: float) -> None:
    took, rounds = spent(time, seconds, start)
    one_round = 3 * 1.2 * CompareTerms().block_seconds
    assert took <= seconds - SETTLING_SECONDS + 0.01
    assert took >= seconds - SETTLING_SECONDS - len(rounds) * one_round
    assert min(rounds) >= LEAST_ROUNDS
    assert LEAST_GENERATIONS <= len(rounds) <= MOST_GENERATIONS


def test_more_time_first_means_more_generations_then_more_rounds(time: Time) -> None:
    rounds_of = [spent(time, seconds, 2.0)[1] for seconds in (20.0, 50.0, 90.0, 200.0, 400.0)]
    generations = [len(rounds) for rounds in rounds_of]
    assert generations == sorted(generations)
    assert (generations[0], generations[1], generations[-1]) == (2, 4, MOST_GENERATIONS)
    assert rounds_of[-1][0] > 2 * rounds_of[-2][0] * 0.9


def test_slow_starts_mean_fewer_generations(time: Time) -> None:
    assert len(spent(time, 100.0, 1.0)[1]) == MOST_GENERATIONS
    assert len(spent(time, 100.0, 9.0)[1]) == 4


@pytest.mark.parametrize(("seconds", "start"), [(5.0, 2.0), (0.0, 2.0), (50.0, 60.0)])
def test_too_little_time_still_gives_the_least(time: Time, seconds: float, start: float) -> None:
    _, rounds = spent(time, seconds, start)
    assert rounds == [LEAST_ROUNDS] * LEAST_GENERATIONS


def test_time_lost_is_made_up_in_later_generations(time: Time) -> None:
    clock = Clock(CompareTerms(seconds=100.0), restarts=True, begun=time.now)
    first = clock.rounds(1.0, 3, 0)
    time.now += 30.0
    assert LEAST_ROUNDS <= clock.rounds(1.0, 3, 1) < first


def test_the_number_of_generations_is_decided_once(time: Time) -> None:
    clock = Clock(CompareTerms(seconds=100.0), restarts=True, begun=time.now)
    clock.rounds(1.0, 3, 0)
    decided = clock.generations
    clock.rounds(40.0, 3, 1)
    assert clock.generations == decided


def test_running_servers_need_no_time_to_start(time: Time) -> None:
    restarted = Clock(CompareTerms(seconds=100.0), restarts=True, begun=time.now)
    running = Clock(CompareTerms(seconds=100.0), restarts=False, begun=time.now)
    assert running.rounds(4.0, 3, 0) > restarted.rounds(4.0, 3, 0)


def block(target: int, right: int = 100, wrong: int = 0, failed: int = 0, said: str = "") -> Block:
    failures = {"HTTP 503": failed} if failed else {}
    return Block(target, 0.3, [10.0] * right, failures, wrong, [said] if said else [])


def test_sound_blocks_are_let_through() -> None:
    require_sound([block(0), block(1), block(2)], NAMES)
    require_sound([block(0, right=999, failed=1, said="busy"), block(1), block(2)], NAMES)


@pytest.mark.parametrize(("target", "name"), [(0, "a"), (1, "b"), (2, "a")])
def test_one_wrong_answer_is_too_many(target: int, name: str) -> None:
    blocks = [block(n, right=10_000) for n in range(3)]
    blocks.append(block(target, wrong=1, said="上, not 下"))
    with pytest.raises(InvalidMeasurementError, match=f"^{name} gave 1 wrong answers: 上, not 下"):
        require_sound(blocks, NAMES)


def test_failures_of_all_blocks_of_a_target_are_taken_together() -> None:
    blocks = [block(1, right=499, failed=1, said="busy"), block(0)]
    with pytest.raises(InvalidMeasurementError, match=r"b: 1 of 500 requests failed \(busy\)"):
        require_sound(blocks, NAMES)
    require_sound([*blocks, block(1, right=500)], NAMES)


def test_a_target_that_never_answered_is_not_sound() -> None:
    with pytest.raises(InvalidMeasurementError, match=r"b: 7 of 7 requests failed \(refused\)"):
        require_sound([block(0), block(1, right=0, failed=7, said="refused")], NAMES)


class Machine:
    """Simulated servers and a simulated generator; what they receive is recorded."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.jobs: list[Job] = []
        self.roots: list[list[int]] = []
        self.up: list[str] = []
        self.starts: list[str] = []
        self.rates = {"http://a": 100.0, "http://b": 100.0}
        self.pids = iter(range(100, 1000))
        self.noise = np.random.default_rng(1)

    def opener(self, url: str, is_ours: bool = True, is_hidden: bool = False) -> Opener:
        @contextmanager
        def open_() -> Iterator[Served]:
            self.time.now += 1.0 if is_ours else 0.0
            self.starts.append(url)
            self.up.append(url)
            pid = next(self.pids) if is_ours else None
            yield Served(Target(url), pid, 1.0, None, is_hidden)
            self.up.remove(url)

        return open_

    def alternate(self, job: Job, edge: Callable[[int], None]) -> list[Block]:
        self.jobs.append(job)
        edge(1)
        blocks = []
        for target, seconds in job.blocks:
            self.time.now += seconds
            count = self.rates[job.targets[target].url] * np.exp(self.noise.normal(0, 0.03))
            blocks.append(Block(target, 0.3, [10.0] * int(count), {}, 0, []))
            edge(1)
        return blocks

    def snapshot(self, servers: list[int] | None, generator: int) -> Any:
        from tiankong.bench.serving.accounting import Counters

        self.roots.append(list(servers or []))
        return Counters(self.time.now, 0, 0, 0, 0, 0, 0, {}, {}, None)


@pytest.fixture
def machine(time: Time, monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine(time)
    monkeypatch.setattr(
        comparing, "Clock", lambda terms, restarts: Clock(terms, restarts, time.now)
    )
    monkeypatch.setattr(comparing, "alternate", fake.alternate)
    monkeypatch.setattr(comparing, "snapshot", fake.snapshot)
    return fake


def test_a_is_started_twice_in_every_generation(machine: Machine) -> None:
    openers = (machine.opener("http://a"), machine.opener("http://b"))
    comparison = compare(NAMES, openers, QUESTIONS, CompareTerms(users=3))
    assert (comparison.a, comparison.b, comparison.users, comparison.notes) == ("a", "b", 3, ())
    assert comparison.verdict == CLOSE
    assert machine.up == []
    assert machine.starts == ["http://a", "http://b", "http://a"] * comparison.generations
    assert len(machine.jobs) == comparison.generations > 1
    for job in machine.jobs:
        assert [target.url for target in job.targets] == ["http://a", "http://b", "http://a"]
        assert job.users == 3
        assert (job.right(0, [0]), job.right(1, [0]), job.right(2, [0])) == (
            [RANKING],
            [[("下", 0.9)]],
            [RANKING],
        )
    assert machine.roots[0] == [100, 101, 102]
    assert machine.roots[-1][0] > 102


def test_every_round_has_every_target_once_in_an_order_the_seed_decides(machine: Machine) -> None:
    openers = (machine.opener("http://a"), machine.opener("http://b"))
    for seed in (1, 1, 2):
        machine.time.now = 1000.0
        compare(NAMES, openers, QUESTIONS, CompareTerms(seed=seed, seconds=30.0))
    half = len(machine.jobs) // 3
    first, second, third = (
        [list(job.blocks) for job in machine.jobs[n * half : (n + 1) * half]] for n in range(3)
    )
    assert first == second != third
    terms = CompareTerms()
    for blocks in first:
        assert blocks[:3] == [(target, terms.warmup_seconds) for target in (0, 1, 2)]
        rounds = [blocks[n : n + 3] for n in range(3, len(blocks), 3)]
        assert all(sorted(target for target, _ in each) == [0, 1, 2] for each in rounds)
        assert {seconds for each in rounds for _, seconds in each} == {terms.block_seconds}
        assert len({tuple(each) for each in rounds}) > 1


def test_running_servers_are_asked_and_a_is_its_own_control(machine: Machine) -> None:
    machine.rates["http://b"] = 80.0
    openers = (machine.opener("http://a", False), machine.opener("http://b", False))
    comparison = compare(NAMES, openers, QUESTIONS, CompareTerms(), restarts=False)
    assert machine.starts[:2] == ["http://a", "http://b"]
    assert machine.starts.count("http://a") == machine.starts.count("http://b")
    assert [target.url for target in machine.jobs[0].targets] == [
        "http://a",
        "http://b",
        "http://a",
    ]
    assert {tuple(roots) for roots in machine.roots} == {()}
    assert (comparison.verdict, comparison.notes) == ("slower", (RUNNING,))
    assert comparison.control.low < 1 < comparison.control.high


def test_a_wrong_answer_ends_the_comparison_and_the_servers(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(job: Job, edge: Callable[[int], None]) -> list[Block]:
        return [block(target, wrong=1, said="no") for target, _ in job.blocks]

    monkeypatch.setattr(comparing, "alternate", wrong)
    openers = (machine.opener("http://a"), machine.opener("http://b"))
    with pytest.raises(InvalidMeasurementError, match="a gave"):
        compare(NAMES, openers, QUESTIONS, CompareTerms())
    assert len(machine.starts) == 3


@pytest.mark.parametrize("is_hidden", [False, True])
def test_what_others_took_is_unknown_only_where_a_server_may_be_among_them(
    machine: Machine, is_hidden: bool
) -> None:
    openers = (machine.opener("http://a"), machine.opener("http://b", False, is_hidden))
    comparison = compare(NAMES, openers, QUESTIONS, CompareTerms(), restarts=False)
    assert comparison.others_percent == (None if is_hidden else 0.0)
