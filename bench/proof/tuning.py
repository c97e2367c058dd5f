"""Proof of ``tune``: its result against an exhaustive search over the same settings.

    python -m tiankong.bench.proof.tuning --variant onnx-int8 --slo p95=100ms

``tune`` runs first, in its budget.  Then every choice is measured under as many users as it can
take within the objective (found as ``tune`` does it, but for every choice), in ``--passes`` passes
of ``--seconds``, each in another order.  The score of a choice is the mean of the passes after the
first, which only finds the number of users.  The best five of this search, the result of ``tune``
and the usual settings are finally measured in turns, in ``--rounds`` rounds; the best of these is
*the* best.

Every result is appended to ``artifacts/proof/tuning.jsonl``; results there with the same terms
(model, variant, our program, objective, seconds, gold set, machine) are not measured again.  So the
same command continues after an interruption, and only prints the table if all is measured.  More
``--passes`` or ``--rounds`` add to the results; another ``--out`` starts anew.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ...toolkit.building.store import Store
from ...toolkit.console import progress
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.files import artifacts
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import read_gold
from ...toolkit.machine import digest as machine_digest
from ...toolkit.machine import fingerprint
from ...toolkit.options import duration
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.slo import Slo, parse_slo
from ...toolkit.runs.validity import invalidating, is_disturbed
from ..load.generator import ALONE
from ..search.schedule import WARMUP_SECONDS
from ..search.space import Setup
from ..search.tune import choices_of, next_users, score, tune
from ..sweep.ground import Ground
from ..sweep.measure import Window
from .ledger import Ledger
from .peers.servers import Contestant, digest
from .peers.table import NONE
from .program import command_line, ended_well
from .ratio import told

FINALISTS, FINAL_SECONDS = 5, 10.0
SEARCH = "search"
HEAD = ("", "settings", "users", "requests/s in time", "of the best", "left out")


@dataclass(frozen=True)
class TunedSettings:
    """The result of ``tune`` within a budget (None: its own); ``users`` for the usual settings."""

    budget: float | None
    best: Setup
    usual: Setup
    users: int

    @classmethod
    def of(cls, data: dict[str, Any]) -> TunedSettings:
        """Return the settings that a ledger stores as ``data``."""
        return cls(**data | {name: Setup(**data[name]) for name in ("best", "usual")})


@dataclass(frozen=True)
class Glance:
    """One window: the score of a choice under ``users`` users; ``then`` is the number to use next.

    ``doubts`` are the codes of the causes that make the window invalid.
    """

    stage: str
    number: int
    choice: Setup
    users: int
    then: int
    score: float
    doubts: Sequence[str] = ()

    @classmethod
    def of(cls, data: dict[str, Any]) -> Glance:
        """Return the window that a ledger stores as ``data``."""
        return cls(**data | {"choice": Setup(**data["choice"])})


@dataclass(frozen=True)
class TuningProof:
    """The measurements of the proof; results that the ledger has are not measured again."""

    variant: str
    slo: Slo
    ground: Ground
    ledger: Ledger
    seconds: float

    def tuned(self, budget: float | None) -> TunedSettings:
        """Return the result of ``tune``."""
        key = ("tune", budget)
        data = self.ledger.get(key) or self.ledger.append(key, asdict(self._tune(budget)))
        return TunedSettings.of(data)

    def _tune(self, budget: float | None) -> TunedSettings:
        result = tune(self.variant, self.slo, budget, self.ground)
        best, usual = result.best.choice, result.usual.choice
        return TunedSettings(budget, best, usual, result.usual.users)

    def search(self, tuned: TunedSettings, passes: int) -> dict[Setup, list[Glance]]:
        """Measure every choice once per pass; its number of users is adapted to its latency."""
        choices = choices_of(self.variant, self.ground)
        looks: dict[Setup, list[Glance]] = {c: [] for c in (*choices, tuned.best, tuned.usual)}
        users = dict.fromkeys(looks, tuned.users)
        for number in range(1, passes + 1):
            order = list(looks)
            random.Random(number).shuffle(order)
            asked = {choice: users[choice] for choice in order}
            for choice, look in self._turn(SEARCH, number, asked, self.seconds).items():
                looks[choice].append(look)
                users[choice] = look.then
        return looks

    def final(self, users: Mapping[Setup, int], rounds: int) -> dict[Setup, list[Glance]]:
        """Measure each of a few choices once per round, in turns."""
        # The stage identifies the finalists and their users: other ones make another final.
        final = hashlib.sha256(repr(sorted(users.items())).encode())
        stage = f"final {final.hexdigest()[:8]}"
        looks: dict[Setup, list[Glance]] = {choice: [] for choice in users}
        for number in range(1, rounds + 1):
            order = list(users) if number % 2 else list(users)[::-1]
            asked = {choice: users[choice] for choice in order}
            for choice, look in self._turn(stage, number, asked, FINAL_SECONDS).items():
                looks[choice].append(look)
        return looks

    def _turn(
        self, stage: str, number: int, users: Mapping[Setup, int], seconds: float
    ) -> dict[Setup, Glance]:
        """Return one window of each choice; measure those that are missing, in order."""
        keys = {choice: (stage, number, choice.options) for choice in users}
        left = [choice for choice, key in keys.items() if self.ledger.get(key) is None]
        with progress(f"tuning, {stage.split()[0]} {number}", len(left)) as step:
            for choice in left:
                step(f"{choice}, {users[choice]} users")
                look = self._look(stage, number, choice, users[choice], seconds)
                self.ledger.append(keys[choice], asdict(look))
        return {choice: Glance.of(self.ledger.values[key]) for choice, key in keys.items()}

    def _look(self, stage: str, number: int, choice: Setup, users: int, seconds: float) -> Glance:
        cell = self._cell(choice, users, seconds)
        then = next_users(cell, users, self.slo)
        doubts = [warn.code for warn in invalidating(cell)]
        return Glance(stage, number, choice, users, then, score(cell, self.slo), doubts)

    def _cell(self, choice: Setup, users: int, seconds: float) -> Cell:
        """Measure a choice, and once more if an outside cause disturbed it."""
        settings = tuple(choice.as_json().items())
        point = Point(self.variant, REFERENCE_STACK, Load(users), settings=settings)
        window = Window(seconds, WARMUP_SECONDS)
        cell = self.ground.measure(point, window)
        again = replace(window, attempt=2)
        return self.ground.measure(point, again) if is_disturbed(cell) else cell


def settled(looks: Sequence[Glance]) -> tuple[float, int]:
    """Return the score of a choice in the search, and its number of users in the final.

    Both are means over the passes after the first, over valid windows only if there are any.
    """
    later = looks[1:] or looks
    counting = [look for look in later if not look.doubts] or later
    return fmean(look.score for look in counting), round(fmean(look.then for look in counting))


def finalists(
    tuned: TunedSettings, looks: Mapping[Setup, Sequence[Glance]]
) -> dict[Setup, list[str]]:
    """Return the choices to measure in the final, each with its names in the table."""
    ranked = sorted(looks, key=lambda choice: settled(looks[choice])[0], reverse=True)
    named = {c: [f"no. {place} of the search"] for place, c in enumerate(ranked[:FINALISTS], 1)}
    named.setdefault(tuned.best, []).append("`tune`")
    named.setdefault(tuned.usual, []).append("usual settings")
    return named


def table(named: Mapping[Setup, Sequence[str]], looks: Mapping[Setup, Sequence[Glance]]) -> str:
    """Return the final as a Markdown table, the best first.

    Shares are relative to the best one's score in the same round.  The best of several is partly
    lucky, so the shares of the others are slightly too small rather than too large.
    """
    scores = {
        choice: {look.number: look.score for look in own if not look.doubts}
        for choice, own in looks.items()
    }
    means = {choice: fmean(own.values()) if own else -1.0 for choice, own in scores.items()}
    ranked = sorted(named, key=means.__getitem__, reverse=True)
    lines = [f"| {' | '.join(HEAD)} |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for choice in ranked:
        rate = f"{means[choice]:.1f}" if scores[choice] else NONE
        is_best = choice == ranked[0] and means[choice] > 0
        share = "1" if is_best else _share(scores[choice], scores[ranked[0]])
        users, left_out = looks[choice][0].users, _left_out(looks[choice])
        cells = (", ".join(named[choice]), choice, users, rate, share, left_out)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _share(own: Mapping[int, float], best: Mapping[int, float]) -> str:
    ratios = [own[n] / best[n] for n in sorted(own.keys() & best.keys()) if best[n]]
    if not ratios:
        return NONE
    if zeros := ratios.count(
        0.0
    ):  # 0 has no logarithm, so there is no geometric mean and no interval
        return f"{fmean(ratios):.3f} ({zeros} of {len(ratios)} rounds: nothing in time)"
    return told(ratios)


def _left_out(looks: Iterable[Glance]) -> str:
    spoilt = [look for look in looks if look.doubts]
    codes = sorted({code for look in spoilt for code in look.doubts})
    return f"{len(spoilt)}: {', '.join(codes)}" if spoilt else NONE


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = command_line("tuning", __doc__)
    add = result.add_argument
    add("--variant", default="onnx-int8")
    add("--slo", default="p95=100ms")
    add("--budget", default="", help="of tune (default: its own)")
    add("--passes", type=int, default=3, help="of the search over everything (default: 3)")
    add("--seconds", type=float, default=5.0, help="of its windows (default: 5)")
    add("--rounds", type=int, default=5, help=f"of the end, {FINAL_SECONDS:g} s each (default: 5)")
    add("--out", type=Path, help="file of the windows (default: artifacts/proof/tuning.jsonl)")
    return result


def prepared(given: argparse.Namespace) -> TuningProof:
    """Return the proof to run; raise UnusableInputError for invalid options."""
    if min(given.passes, given.rounds, given.seconds) < 1:
        raise UnusableInputError("--passes, --rounds and --seconds are at least 1")
    slo, gold = parse_slo(given.slo), read_gold()
    [built] = ensure(Store(given.model), [given.variant], gold)
    terms = {
        "model": given.model,
        "variant": given.variant,
        "digest": digest(Contestant(REFERENCE_STACK, given.variant), built),
        "slo": slo.text,
        "seconds": [given.seconds, FINAL_SECONDS, WARMUP_SECONDS],
        "gold": gold.digest,
        "machine": machine_digest(fingerprint()),
    }
    ledger = Ledger(given.out or artifacts() / "proof" / "tuning.jsonl", terms)
    return TuningProof(given.variant, slo, Ground.of([built], gold, ALONE), ledger, given.seconds)


def prove(
    proof: TuningProof, budget: float | None, passes: int, rounds: int
) -> tuple[str, list[str]]:
    """Tune, search exhaustively, and measure the best in turns.

    Returns the table, and the choices in it that have no figures, as no window of them is valid.
    """
    tuned = proof.tuned(budget)
    looks = proof.search(tuned, passes)
    spoilt = sum(bool(look.doubts) for own in looks.values() for look in own)
    named = finalists(tuned, looks)
    last = proof.final({choice: settled(looks[choice])[1] for choice in named}, rounds)
    head = (
        f"{proof.ledger.terms['model']}, {proof.variant}, {proof.slo.text}: {len(looks)} settings,"
        f" {passes} x {proof.seconds:g} s each ({spoilt} windows invalid);"
        f" then {rounds} rounds of {FINAL_SECONDS:g} s"
    )
    lacking = [choice.options for choice, own in last.items() if all(look.doubts for look in own)]
    return f"{head}\n\n{table(named, last)}", lacking


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the table; exit code 3 if a choice in it has no figures."""
    given = parser().parse_args(arguments)
    with ended_well("tuning", resumes=True):
        budget = duration(given.budget) if given.budget else None
        text, lacking = prove(prepared(given), budget, given.passes, given.rounds)
        print(text)
        if lacking:
            raise InvalidMeasurementError(f"no figures: {'; '.join(lacking)} (try more --rounds)")


if __name__ == "__main__":
    main()
