"""Tune: finds the serving settings with the most answers in time, by successive halving.

Many choices are measured briefly, the better third of them twice as long, and so on (successive
halving: Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943, with a reduction of 3).
The number of users of a choice is adapted to its latency, so that each is judged near the load at
which it just keeps the objective.  At the end the best and the usual settings are measured in
turns.

Several variants are one search: a choice is a variant with settings, so that what is slow leaves
early, whatever its settings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, geometric_mean

from ...toolkit.console import progress, say
from ...toolkit.errors import GateFailedError
from ...toolkit.files import artifacts
from ...toolkit.machine import usable_cores
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.slo import Slo, rough_percentile
from ...toolkit.stats import Variation, interval, variation
from ..sweep.ground import Ground, new_header
from ..sweep.measure import Window
from ..sweep.session import Session
from .bisection import highest
from .schedule import (
    CONFIRM_SECONDS,
    CONFIRMATIONS,
    LOOK_SECONDS,
    WARMUP_SECONDS,
    Schedule,
    usual_budget,
)
from .space import Setup, space
from .trust import UnconfirmedError, require_sound, trusted
from .tuned import Confirmed, Trial, Tuned

FIRST_LOOK, CONFIRMATION = "first look", "confirmation"  # stages; each rung is a stage of its own
MOST_USERS = 512
FURTHEST = 2.0  # largest factor by which a choice's users change from one rung to the next

Option = tuple[str, Setup]
"""What is tried: a variant and its settings."""


class NothingHoldsError(GateFailedError):
    """No settings meet the objective (exit code 1)."""


def tune(variant: str | Sequence[str], slo: Slo, budget: float | None, ground: Ground) -> Tuned:
    """Search, confirm, and return the best settings; an interrupted search is resumed.

    Of several variants the best is chosen too; it has to be better than the usual settings of the
    first.  ``budget`` is in seconds (None: as many as the settings need).  Raises NothingHoldsError
    if no settings keep the objective, UnconfirmedError if a cell cannot be trusted, and
    UnusableInputError for a budget too small.
    """
    names = [variant] if isinstance(variant, str) else list(dict.fromkeys(variant))
    options = [(name, choice) for name in names for choice in choices_of(name, ground)]
    seconds = usual_budget(len(options), len(names)) if budget is None else budget
    schedule = Schedule.within(seconds, len(options), variants=len(names))
    of = f" of {len(names)} variants" if len(names) > 1 else ""
    say(f"tune: {len(options)} settings{of} to look at, about {seconds / 60:.3g} minutes")
    terms = {"name": "tune", "slo": slo.text, "rungs": schedule.rungs}
    # Of one variant as before there could be several: such a search can be gone on with.
    terms |= {"choices": [_named(option, names, options=True) for option in options]}
    header = new_header("tune", terms | ground.as_json(), ground, is_search=True)
    with Session.resume_or_begin("tune", header, folder()) as session:
        if session.is_resumed:
            say(f"tune: going on with {session.path} ({len(session.cells)} cells are there)")
        try:
            result = _Search(names, slo, options, schedule, ground, session).result()
        except (NothingHoldsError, UnconfirmedError):
            session.finish()  # a failed search is complete, too: the next one begins anew
            raise
        session.finish()
        return result


def choices_of(variant: str, ground: Ground) -> list[Setup]:
    """Return the settings to try for a variant on this machine."""
    manifest = ground.variants[variant].manifest
    return space(manifest.recipe.engine, usable_cores(), batches=manifest.mates != "none")


def require_enough(
    budget: float, engine: str, *, batches: bool, others: Sequence[tuple[str, bool]] = ()
) -> None:
    """Raise UnusableInputError if a budget (seconds) is too small for an engine on this machine.

    ``batches`` says whether sentences may share a batch; ``others`` are the engines of further
    variants, each with the same.
    """
    variants = [(engine, batches), *others]
    spaces = [space(name, usable_cores(), batches=may) for name, may in variants]
    Schedule.within(budget, sum(map(len, spaces)), variants=len(variants))


def folder() -> Path:
    """Return the folder that holds the run files of searches."""
    return artifacts() / "tuning"


def _named(option: Option, variants: Sequence[str], *, options: bool = False) -> str:
    """Return an option in a few words (or as options), with its variant if there are several."""
    variant, choice = option
    words = choice.options if options else str(choice)
    return words if len(variants) == 1 else f"{variant}: {words}"


@dataclass
class _Search:
    """One search; cells that its session has are not measured again."""

    variants: Sequence[str]
    slo: Slo
    options: Sequence[Option]
    schedule: Schedule
    ground: Ground
    session: Session

    def result(self) -> Tuned:
        looks = {variant: self._first_look(variant) for variant in self.variants}
        usual = {variant: (variant, choice) for variant, (choice, _) in looks.items()}
        self.options = list(dict.fromkeys([*self.options, *usual.values()]))
        trials = self._halve({option: looks[option[0]][1] for option in self.options})
        latest = {(trial.variant, trial.choice): trial for trial in trials}
        last = [key for key, trial in latest.items() if trial.rung == len(self.schedule.rungs)]
        best = max(last, key=lambda option: standing_of(option, trials))
        if not latest[best].held:
            require_sound(latest[best].cell)
        if not latest[best].held and latest[best].score <= 0:
            names = ", ".join(self.variants)
            raise NothingHoldsError(f"no settings of {names} keep {self.slo.text}")
        first = usual[self.variants[0]]
        pair = {
            option: self._users_after(latest[option]) for option in (best, usual[best[0]], first)
        }
        final = self._confirm(pair, best)
        for other in (usual[best[0]], first):
            if (final[other].held, final[other].qps) >= (final[best].held, final[best].qps):
                best = other
        if not final[best].held:
            say(f"tune: {self.slo.text} was just missed in the longer runs: take fewer users")
        return Tuned(
            self.variants, self.slo.text, final[best], final[first], trials, self.session.path
        )

    def _first_look(self, variant: str) -> tuple[Setup, int]:
        """Return the usual settings and, roughly, the most users at which they keep the objective.

        The usual settings are those that a server started without options reports.
        """

        def holds(users: float) -> bool:
            return self.slo.held(self._look(variant, int(users)))

        bracket = highest(holds, 1, MOST_USERS, whole=True, fine=0.2)
        usual = self._look(variant, 1)
        engine = self.ground.variants[variant].manifest.recipe.engine
        return Setup.usual(usual.settings, engine), int(bracket.held or 1)

    def _halve(self, users: dict[Option, int]) -> list[Trial]:
        running, trials = list(self.options), list[Trial]()
        shuffler = random.Random(self.session.header.seed)
        for rung, (count, seconds) in enumerate(self.schedule.rungs, start=1):
            running = running if rung == 1 else running[:count]
            shuffler.shuffle(running)
            rung_trials = []
            with progress(f"tune, rung {rung}", len(running)) as step:
                for option in running:
                    step(f"{_named(option, self.variants)}, {users[option]} users")
                    rung_trials.append(self._trial(option, users[option], rung, seconds))
            trials += rung_trials
            running.sort(key=lambda option: standing_of(option, trials), reverse=True)
            users = {(t.variant, t.choice): self._users_after(t) for t in rung_trials}
        return trials

    def _trial(self, option: Option, users: int, rung: int, seconds: float) -> Trial:
        cell = self._cell(self._point(users, f"rung {rung}", *option), seconds)
        return Trial(*option, users, rung, cell, score(cell, self.slo), self.slo.held(cell))

    def _users_after(self, trial: Trial) -> int:
        return next_users(trial.cell, trial.users, self.slo)

    def _confirm(self, pair: Mapping[Option, int], best: Option) -> dict[Option, Confirmed]:
        """Measure the options in turns, and return the result of each.

        Raises UnconfirmedError if a cell of the best option is invalid.
        """
        cells: dict[Option, list[Cell]] = {option: [] for option in pair}
        with progress("tune, confirming", len(pair) * CONFIRMATIONS) as step:
            for repeat in range(1, CONFIRMATIONS + 1):
                order = list(pair) if repeat % 2 else list(pair)[::-1]
                for option in order:
                    step(f"{_named(option, self.variants)}, {pair[option]} users")
                    point = self._point(pair[option], CONFIRMATION, *option, repeat)
                    cells[option].append(self._cell(point, CONFIRM_SECONDS))
        for cell in cells[best]:
            require_sound(cell)
        groups = [[cell.qps for cell in own] for own in cells.values()]
        between = variation([rates for rates in groups if min(rates)])
        results = {}
        for option, rates in zip(cells, groups, strict=True):
            held = self.slo.kept(cells[option]) is not False
            results[option] = Confirmed(*option, pair[option], *_mean(rates, between), held)
        return results

    def _look(self, variant: str, users: int) -> Cell:
        return self._cell(self._point(users, FIRST_LOOK, variant), LOOK_SECONDS)

    def _point(
        self, users: int, stage: str, variant: str, choice: Setup | None = None, repeat: int = 1
    ) -> Point:
        """Return the point of a choice (None: a server started without options)."""
        settings = () if choice is None else tuple(choice.as_json().items())
        return Point(variant, REFERENCE_STACK, Load(users), repeat, stage, settings)

    def _cell(self, point: Point, seconds: float) -> Cell:
        """Return the cell of a point; measure it if it is missing or cannot be believed."""

        def measure(attempt: int) -> Cell:
            seed = self.session.header.seed
            window = Window(seconds, WARMUP_SECONDS, seed=seed, attempt=attempt)
            return self.session.append(self.ground.measure(point, window))

        return trusted(self.session.get(point), measure, self.slo.held)


def _mean(rates: Sequence[float], between: Variation | None) -> tuple[float, float, float]:
    """Return the mean of a few rates, and the lower and upper end of its interval."""
    if not min(rates):  # a rate of 0 has no logarithm: no geometric mean
        return fmean(rates), min(rates), max(rates)
    return geometric_mean(rates), *(interval(rates, between) or (min(rates), max(rates)))


def standing_of(option: Option, trials: Sequence[Trial]) -> float:
    """Return the mean of an option's scores, weighted by the seconds of each trial."""
    own = [trial for trial in trials if (trial.variant, trial.choice) == option]
    seconds = sum(trial.cell.seconds for trial in own)
    return sum(trial.score * trial.cell.seconds for trial in own) / seconds


def next_users(cell: Cell, users: int, slo: Slo) -> int:
    """Return the users at which a server should just keep the objective, given one cell.

    At saturation latency grows with the number of users (Little's law).
    """
    room = min(limit / max(rough_percentile(cell, rank), 1e-9) for rank, limit in slo.limits_ms)
    scaled = users * min(FURTHEST, max(1 / FURTHEST, room))
    return min(MOST_USERS, max(1, math.floor(scaled)))


def score(cell: Cell, slo: Slo) -> float:
    """Return the QPS of a cell, reduced if more answers came late than the objective allows.

    The factor is the share of answers in time divided by the share required; 0 if any is wrong.
    """
    if cell.wrong or not len(cell.latencies_ms):
        return 0.0
    shares = [
        sum(latency <= limit for latency in cell.latencies_ms) / cell.requests / (rank / 100)
        for rank, limit in slo.limits_ms
    ]
    return cell.qps * min(1.0, *shares)
