"""A job: the orders for a load generator, as one JSON object (a file or a message to workers)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

from ...toolkit.engines.predictor import Ranking
from .dialects import DIALECTS
from .target import Target

JOB_FILE, RESULT_FILE = "TIANKONG_LOAD", "TIANKONG_OUT"  # variables that name them to the generator


@dataclass(frozen=True)
class Job:
    """Sentences to send over HTTP to one target or, in blocks, to several in turn.

    Args:
        targets: servers; only blocks use any but the first.
        sentences: texts, sent in this order over and over.
        expected: the right ranking of each sentence (empty: answers are not checked).
        others: right rankings of the targets (by number) whose right answers differ.
        users: concurrent users; in an open loop the most requests in flight at once.
        rate: intended arrivals a second (Poisson); None: a closed loop without think time.
        batch: sentences in a request (more than 1: ``POST /predict/batch``).
        warmup_seconds: load before the window.
        seconds: the window.
        drain_seconds: how long an open loop waits for answers after the window.
        deadline_seconds: after that a closed loop's request that was sent in the window or before
            has failed; the reference server's own deadline is as long.
        seed: of the random arrivals.
        blocks: (target, seconds), run one after the other instead of a window.

    """

    targets: Sequence[Target]
    sentences: Sequence[str]
    expected: Sequence[Ranking] = ()
    others: Mapping[int, Sequence[Ranking]] = field(default_factory=dict)
    users: int = 1
    rate: float | None = None
    batch: int = 1
    warmup_seconds: float = 0.0
    seconds: float = 0.0
    drain_seconds: float = 10.0
    deadline_seconds: float = 30.0
    seed: int = 0
    blocks: Sequence[tuple[int, float]] = ()

    @property
    def path(self) -> str:
        """The path of the requests."""
        return "/predict/batch" if self.batch > 1 else "/predict"

    def question(self, target: int, texts: Sequence[str]) -> tuple[str, Any]:
        """Return path and JSON body of a request of these texts to a target."""
        if self.batch > 1:
            return self.path, {"texts": texts}
        dialect = DIALECTS[self.targets[target].dialect]
        return dialect.path, dialect.question(texts[0])

    @property
    def is_measured(self) -> bool:
        """Whether the job ends and gives results (otherwise it is load without end)."""
        return self.seconds > 0 or bool(self.blocks)

    def as_json(self) -> dict[str, Any]:
        """Return the job as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """Return the job of a JSON object."""
        others = {int(target): rankings for target, rankings in data["others"].items()}
        targets = [Target.from_json(target) for target in data["targets"]]
        return cls(**{**data, "targets": targets, "others": others})

    def right(self, target: int, indices: Sequence[int]) -> list[Ranking]:
        """Return a target's right rankings of sentences; none if answers are not checked."""
        rankings = self.others.get(target, self.expected)
        return [rankings[place] for place in indices] if rankings else []

    def requests(self, first: int = 0) -> Iterator[list[int]]:
        """Yield for each request, without end, the indices of its sentences."""
        for turn in count(first):
            yield [(turn * self.batch + i) % len(self.sentences) for i in range(self.batch)]


def arrivals(rate: float, seed: int) -> Iterator[float]:
    """Yield the times of a Poisson process in seconds from now on, without end.

    Raises ValueError for a rate that is not above zero.
    """
    if rate <= 0:
        raise ValueError(f"a rate of {rate} arrivals a second")
    source = random.Random(seed)
    due = 0.0
    while True:
        due += source.expovariate(rate)
        yield due
