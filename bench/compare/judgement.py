"""The judgement of a comparison: the ratio of B's QPS to A's, its interval, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..load.generator import Block

A, B, CONTROL = 0, 1, 2
FASTER, SLOWER, CLOSE = "faster", "slower", "too close to call"
LEAST_DIFFERENCE = 0.01  # smaller differences are not worth acting on, whatever the interval
STEEPEST = -3.0  # a disturbance slows servers by at most 3 times its share of the machine
TRIMMED = 0.15  # share of a generation's rounds cut at each end: a burst hits single blocks

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Generation:
    """Results of one generation of servers: a row a round, a column a target (A, B, control).

    ``rates`` are QPS; ``others`` is the share of the machine (0..1) that other processes and the
    host used meanwhile; ``medians_ms`` has the median latency of each target over all rounds.
    """

    rates: Floats
    others: Floats
    medians_ms: Floats

    @classmethod
    def of(cls, blocks: Sequence[Block], others: Sequence[float], targets: int) -> Generation:
        """Return the generation of some blocks in measured order; the warm-up blocks come first."""
        rates: list[list[float]] = []
        taken: list[list[float]] = []
        for begin in range(targets, len(blocks) - targets + 1, targets):
            places = sorted(range(begin, begin + targets), key=lambda place: blocks[place].target)
            rates.append([len(blocks[p].latencies_ms) / blocks[p].seconds for p in places])
            taken.append([others[p] for p in places])
        latencies: list[list[float]] = [[] for _ in range(targets)]
        for block in blocks[targets:]:
            latencies[block.target] += block.latencies_ms
        medians = [float(np.median(each)) if each else np.nan for each in latencies]
        return cls(np.asarray(rates), np.asarray(taken), np.asarray(medians))


@dataclass(frozen=True)
class Ratio:
    """A ratio of QPS with its 95 % interval."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """B against A: ``ratio`` is B's QPS over A's, ``control`` that of A's second server over A's.

    ``qps`` and ``median_ms`` of A and B hold for this run only.
    """

    a: str
    b: str
    ratio: Ratio
    control: Ratio
    verdict: str
    generations: int
    rounds: int
    users: int
    qps: tuple[float, float]
    median_ms: tuple[float, float]
    others_percent: float | None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object (``ratio``, ``low``, ``high``: B over A)."""
        names = ("generations", "rounds", "users", "others_percent")
        return {
            "a": self.a,
            "b": self.b,
            **asdict(self.ratio),
            "verdict": self.verdict,
            "control": asdict(self.control),
            "qps": {"a": self.qps[A], "b": self.qps[B]},
            "median_ms": {"a": self.median_ms[A], "b": self.median_ms[B]},
            **{name: getattr(self, name) for name in names},
            "notes": list(self.notes),
        }

    def slower_than(self, share: float) -> bool | None:
        """Return whether B is slower than A by more than a share (0.05); None if that is unsure."""
        bar = 1 - share
        if self.ratio.high < bar:
            return True
        return False if self.ratio.low >= bar else None


def judge(
    names: tuple[str, str], generations: Sequence[Generation], users: int, restarts: bool = True
) -> Comparison:
    """Return the comparison that the generations give.

    Each round gives an effect, log(B) - (log(A) + log(control)) / 2, and a control contrast,
    log(control) - log(A).  From both we subtract what the disturbance explains (one slope for
    all) and take the trimmed mean over the generation.  If the logarithms of the servers' rates
    are independent with equal variance v, the effect has variance 1.5 v and the control contrast
    2 v, around a true mean of 0.  Both together estimate v with 2 G - 1 degrees of freedom for G
    generations.  So a control that differs from A widens B's interval too (Student's t).
    """
    if not restarts:
        generations = _split(generations)
    effects, controls = _contrasts(generations)
    count = len(effects)
    freedom = 2 * count - 1
    squares = np.square(effects - effects.mean()).sum() / 1.5 + np.square(controls).sum() / 2
    deviation = float(np.sqrt(squares / freedom))
    ratio = _ratio(float(effects.mean()), deviation * np.sqrt(1.5 / count), freedom)
    # The control's own interval does not assume a mean of 0: one degree of freedom less.
    control_squares = squares - count * np.square(controls.mean()) / 2
    spread = float(np.sqrt(control_squares / (freedom - 1)))
    control = _ratio(float(controls.mean()), spread * np.sqrt(2 / count), freedom - 1)
    rates = np.concatenate([generation.rates for generation in generations])
    return Comparison(
        *names,
        ratio=ratio,
        control=control,
        verdict=verdict(ratio, control),
        generations=count,
        rounds=len(rates),
        users=users,
        qps=(_typical(rates[:, A]), _typical(rates[:, B])),
        median_ms=_medians(generations),
        others_percent=round(
            100 * float(np.mean(np.concatenate([g.others for g in generations]))), 1
        ),
        notes=() if restarts else (RUNNING,),
    )


RUNNING = (
    "running servers cannot be restarted: the interval does not include by how much two"
    " processes of the same server differ"
)
PARTS = 8  # running servers: groups of consecutive rounds stand in for generations


def _split(generations: Sequence[Generation]) -> list[Generation]:
    rates = np.concatenate([generation.rates for generation in generations])
    others = np.concatenate([generation.others for generation in generations])
    parts = min(PARTS, len(rates))
    medians = np.mean([generation.medians_ms for generation in generations], axis=0)
    split = zip(np.array_split(rates, parts), np.array_split(others, parts), strict=True)
    return [Generation(part, taken, medians) for part, taken in split]


def _contrasts(generations: Sequence[Generation]) -> tuple[Floats, Floats]:
    """Return each generation's effect (B against both A) and control (second A against A)."""
    effect = np.array([-0.5, 1.0, -0.5])
    control = np.array([-1.0, 0.0, 1.0])
    logs = [np.log(generation.rates) for generation in generations]
    slope = _slope(logs, [generation.others for generation in generations], (effect, control))
    adjusted = [log - slope * g.others for log, g in zip(logs, generations, strict=True)]
    return (
        np.array([_trimmed(log @ effect) for log in adjusted]),
        np.array([_trimmed(log @ control) for log in adjusted]),
    )


def _slope(logs: Sequence[Floats], others: Sequence[Floats], contrasts: Sequence[Floats]) -> float:
    """Return the change of log QPS if others took the whole machine (least squares)."""
    above = below = 0.0
    for contrast in contrasts:
        for log, taken in zip(logs, others, strict=True):
            x, y = taken @ contrast, log @ contrast
            x, y = x - x.mean(), y - y.mean()
            above += float(x @ y)
            below += float(x @ x)
    return float(np.clip(above / below, STEEPEST, 0.0)) if below > 0 else 0.0


def _trimmed(values: Floats) -> float:
    from scipy.stats import trim_mean

    return float(trim_mean(values, TRIMMED))


def _ratio(mean: float, error: float, freedom: int) -> Ratio:
    from scipy.stats import t

    half = float(t.ppf(0.975, freedom)) * error
    low, middle, high = (float(np.exp(mean + sign * half)) for sign in (-1, 0, 1))
    return Ratio(middle, low, high)


def verdict(ratio: Ratio, control: Ratio) -> str:
    """Return faster or slower if the interval and the control leave no doubt.

    The interval must lie beyond the least difference, and B must differ from A by more than A's
    own second server does.
    """
    beyond_control = abs(np.log(ratio.ratio)) > abs(np.log(control.ratio))
    if ratio.low > 1 + LEAST_DIFFERENCE and beyond_control:
        return FASTER
    if ratio.high < 1 - LEAST_DIFFERENCE and beyond_control:
        return SLOWER
    return CLOSE


def _typical(rates: Floats) -> float:
    return round(float(np.exp(np.log(rates).mean())), 3)


def _medians(generations: Sequence[Generation]) -> tuple[float, float]:
    medians = np.mean([generation.medians_ms for generation in generations], axis=0)
    return round(float(medians[A]), 3), round(float(medians[B]), 3)
