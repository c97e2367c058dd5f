"""Comparisons: two servers side by side, loaded in turns, and how sure the ratio of their QPS is.

A is started twice (A and its control), so that every comparison carries an A/A control.  Blocks of
closed-loop load go to A, B and the control, in an order that is shuffled for every round.  So any
disturbance of the machine affects all three alike, and only ratios within a round count.  All three
are stopped and started again several times ("generations"): two processes of the same server differ
by a few percent for their whole life, and more rounds with the same processes would not show it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise

from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.runs.validity import MAX_FAILURE_SHARE
from ..load.generator import Block, alternate
from ..load.job import Job
from ..load.sentences import Questions
from ..serving.accounting import Counters, snapshot, usage
from ..serving.served import Served
from .judgement import A, Comparison, Generation, judge

Opener = Callable[[], AbstractContextManager[Served]]

LEAST_GENERATIONS, MOST_GENERATIONS = 2, 8
GENERATION_SECONDS = 11.0  # target length, starts included; it decides how many fit
GENERATOR_START_SECONDS = 1.5
SETTLING_SECONDS = 4.0  # part of the total time, spent before and after the generations
LEAST_ROUNDS = 3


@dataclass(frozen=True)
class CompareTerms:
    """How to compare: concurrent users, about ``seconds`` in all, in blocks of a fixed length."""

    users: int = 4
    seconds: float = 50.0
    block_seconds: float = 0.3
    warmup_seconds: float = 0.5
    seed: int = 0


@dataclass
class Clock:
    """Divides the time into generations and rounds, by how long the servers take to start."""

    terms: CompareTerms
    restarts: bool
    begun: float = field(default_factory=time.monotonic)
    generations: int = 0

    def rounds(self, start_seconds: float, targets: int, number: int) -> int:
        """Return the rounds for generation ``number``, whose servers took so long to start."""
        left = self.terms.seconds - SETTLING_SECONDS - (time.monotonic() - self.begun)
        if not self.generations:
            one_generation = max(GENERATION_SECONDS, 2 * (start_seconds + GENERATOR_START_SECONDS))
            fitting = int((left + start_seconds) / one_generation)
            self.generations = max(LEAST_GENERATIONS, min(MOST_GENERATIONS, fitting))
        later = self.generations - number - 1
        seconds = (left - later * (start_seconds if self.restarts else 0.0)) / (later + 1)
        loaded = seconds - GENERATOR_START_SECONDS - targets * self.terms.warmup_seconds
        return max(LEAST_ROUNDS, int(loaded / (targets * self.terms.block_seconds * 1.2)))


def compare(
    names: tuple[str, str],
    openers: tuple[Opener, Opener],
    questions: tuple[Questions, Questions],
    terms: CompareTerms,
    restarts: bool = True,
) -> Comparison:
    """Compare A and B; each opener starts a server (or, without restarts, names a running one).

    ``questions`` are A's and B's: the same sentences, each with its own right answers.  Raises
    InvalidMeasurementError if any answer is wrong, too many fail, or a server or the generator
    ends early.
    """
    clock = Clock(terms, restarts)
    source = random.Random(terms.seed)
    generations: list[Generation] = []
    is_known = True  # whose CPU is whose
    while not clock.generations or len(generations) < clock.generations:
        begun = time.monotonic()
        with ExitStack() as stack:
            servers = [stack.enter_context(open_()) for open_ in openers]
            is_known = is_known and not any(server.is_hidden for server in servers)
            servers.append(stack.enter_context(openers[A]()) if restarts else servers[A])
            rounds = clock.rounds(time.monotonic() - begun, len(servers), len(generations))
            generations.append(_generation(servers, questions, terms, rounds, source, names))
    judged = judge(names, generations, terms.users, restarts)
    return judged if is_known else replace(judged, others_percent=None)


def _generation(
    servers: Sequence[Served],
    questions: tuple[Questions, Questions],
    terms: CompareTerms,
    rounds: int,
    source: random.Random,
    names: tuple[str, str],
) -> Generation:
    order = list(_order(len(servers), terms, rounds, source))
    job = Job(
        targets=[server.target for server in servers],
        sentences=questions[0].texts,
        expected=questions[0].expected,
        others={1: list(questions[1].expected)},
        users=terms.users,
        blocks=order,
    )
    known = dict.fromkeys(server.pid for server in servers if server.pid is not None)
    pids = None if any(server.is_hidden for server in servers) else list(known)
    edges: list[Counters] = []
    blocks = alternate(job, lambda generator: edges.append(snapshot(pids, generator)))
    require_sound(blocks, names)
    usages = [usage(before, after) for before, after in pairwise(edges)]
    others = [used.others / 100 for used in usages]
    return Generation.of(blocks, others, len(servers))


def _order(
    targets: int, terms: CompareTerms, rounds: int, source: random.Random
) -> Iterator[tuple[int, float]]:
    """Yield (target, seconds): the warm-up in order, then every round shuffled."""
    order = list(range(targets))
    for target in order:
        yield target, terms.warmup_seconds
    for _ in range(rounds):
        source.shuffle(order)
        for target in order:
            yield target, terms.block_seconds


def require_sound(blocks: Sequence[Block], names: tuple[str, str]) -> None:
    """Raise InvalidMeasurementError if any answer was wrong or too many requests failed."""
    for number, name in enumerate((*names, names[A])):
        own = [block for block in blocks if block.target == number]
        right = sum(len(block.latencies_ms) for block in own)
        wrong = sum(block.wrong for block in own)
        failed = sum(sum(block.failures.values()) for block in own)
        examples = [text for block in own for text in block.examples]
        if wrong:
            raise InvalidMeasurementError(f"{name} gave {wrong} wrong answers: {examples[0]}")
        if failed > MAX_FAILURE_SHARE * (right + failed):
            raise InvalidMeasurementError(
                f"{name}: {failed} of {right + failed} requests failed ({examples[0]})"
            )
