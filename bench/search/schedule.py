"""The schedule of ``tune``: how many choices each rung has, and how long each is measured.

Each rung keeps a third of the choices of the rung before, and measures each twice as long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...toolkit.errors import UnusableInputError

REDUCTION = 3
LOOK_SECONDS, CONFIRM_SECONDS, WARMUP_SECONDS = 2.0, 10.0, 1.0
CONFIRMATIONS = 3
MOST_CONFIRMED = 3  # the best, and the usual settings of its variant and of the first
START_SECONDS = 2.5  # for a cell's server and generator to start, if no cell has been measured yet
LOOKS = 7  # about the number of cells that the first look at the usual settings takes
LEAST_SECONDS = 1.0  # of a cell in the first rung: shorter ones cannot tell choices apart
USUAL_SECONDS = 2.0  # the least for a cell in the first rung if the user names no budget
USUAL_BUDGET = 600.0  # seconds if the user names no budget; more if many settings need more


@dataclass(frozen=True)
class Schedule:
    """How many choices a rung has and how long each is measured, in seconds."""

    rungs: tuple[tuple[int, float], ...]

    @classmethod
    def within(
        cls, budget: float, choices: int, start: float = START_SECONDS, variants: int = 1
    ) -> Schedule:
        """Return the longest schedule that fits a budget of seconds, start and end included.

        ``start`` is the seconds that a cell takes to start its server and generator; ``variants``
        is how many variants the choices are of.  Raises UnusableInputError if the budget is too
        small to tell the choices apart.
        """
        least = needed(choices, LEAST_SECONDS, start, variants)
        if budget < least:
            raise UnusableInputError(
                f"{choices} settings cannot be told apart in {budget:.0f} s: --budget"
                f" {math.ceil(least / 60)}m or more"
            )
        idle = needed(
            choices, 0.0, start, variants
        )  # seconds that do not go into measuring the choices
        seconds = (budget - idle) / (needed(choices, 1.0, start, variants) - idle)
        rungs = enumerate(_counts(choices))
        return cls(tuple((count, seconds * 2**rung) for rung, count in rungs))


def needed(choices: int, seconds: float, start: float = START_SECONDS, variants: int = 1) -> float:
    """Return the seconds that a search takes if each choice's first cell takes ``seconds``."""
    around = start + WARMUP_SECONDS
    begin = variants * LOOKS * (around + LOOK_SECONDS)
    confirmed = min(variants + 1, MOST_CONFIRMED)
    end = confirmed * CONFIRMATIONS * (around + CONFIRM_SECONDS)
    rungs = enumerate(_counts(choices))
    return begin + end + sum(count * (around + seconds * (1 << rung)) for rung, count in rungs)


def usual_budget(choices: int, variants: int = 1) -> float:
    """Return the budget if the user names none: seconds, a whole number of minutes."""
    seconds = needed(choices, USUAL_SECONDS, variants=variants)
    return max(USUAL_BUDGET, 60.0 * math.ceil(seconds / 60))


def _counts(choices: int) -> list[int]:
    """Return how many choices each rung has."""
    counts = [choices]
    while counts[-1] > 2:
        counts.append(max(2, -(-counts[-1] // REDUCTION)))
    return counts
