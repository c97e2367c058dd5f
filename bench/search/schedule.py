"""The schedule of a search for settings: how many choices each rung has, and how long each takes.

A rung has a third of the choices of the one before, each measured twice as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...toolkit.errors import UnusableInputError

REDUCTION = 3
LOOK_SECONDS, CONFIRM_SECONDS, WARMUP_SECONDS = 2.0, 10.0, 1.0
CONFIRMATIONS = 3
START_SECONDS = 2.5  # a cell's server and generator to start, where none has been measured
LOOKS = 7  # about as many as the first look at the usual settings takes
LEAST_SECONDS = 1.0  # of a rung's cell: with less there is nothing to tell apart
USUAL_SECONDS = 2.0  # the least of the first rung's, where nobody has named a budget
USUAL_BUDGET = 600.0  # then; more where there are more settings than that is enough for


@dataclass(frozen=True)
class Schedule:
    """How many choices a rung has and how long each is measured, in seconds."""

    rungs: tuple[tuple[int, float], ...]

    @classmethod
    def within(cls, budget: float, choices: int, start: float = START_SECONDS) -> Schedule:
        """Return the longest schedule that fits a budget of seconds, start and end included.

        ``start`` is what a cell takes before it measures.  Raises UnusableInputError for a budget
        in which nothing could be told apart.
        """
        least = needed(choices, LEAST_SECONDS, start)
        if budget < least:
            raise UnusableInputError(
                f"{choices} settings cannot be told apart in {budget:.0f} s: --budget"
                f" {math.ceil(least / 60)}m or more"
            )
        idle = needed(choices, 0.0, start)  # what it takes and does not measure the choices
        seconds = (budget - idle) / (needed(choices, 1.0, start) - idle)
        rungs = enumerate(_counts(choices))
        return cls(tuple((count, seconds * 2**rung) for rung, count in rungs))


def needed(choices: int, seconds: float, start: float = START_SECONDS) -> float:
    """Return the seconds of a search that has so many for each choice's first cell."""
    around = start + WARMUP_SECONDS
    begin = LOOKS * (around + LOOK_SECONDS)
    end = 2 * CONFIRMATIONS * (around + CONFIRM_SECONDS)
    rungs = enumerate(_counts(choices))
    return begin + end + sum(count * (around + seconds * (1 << rung)) for rung, count in rungs)


def usual_budget(choices: int) -> float:
    """Return the seconds, in whole minutes, for so many choices where nobody has named a budget."""
    return max(USUAL_BUDGET, 60.0 * math.ceil(needed(choices, USUAL_SECONDS) / 60))


def _counts(choices: int) -> list[int]:
    """Return how many choices each rung has."""
    counts = [choices]
    while counts[-1] > 2:
        counts.append(max(2, -(-counts[-1] // REDUCTION)))
    return counts
