"""Proof of ``tune``: what it finds against an exhaustive search over the same settings.

    python -m tiankong.bench.proof.tuning --variant onnx-int8 --slo p95=100ms

``tune`` runs first, in its budget.  Then every choice is measured in its own right: by as many
users as it can take within the objective (found as ``tune`` does it, but for every choice, in
``--passes`` passes of ``--seconds``, each in another order).  The best of these, what ``tune``
found and the usual settings are at last measured in turns.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from statistics import geometric_mean

from ...toolkit.build import standing
from ...toolkit.checking import gated
from ...toolkit.console import progress, say
from ...toolkit.errors import TiankongError
from ...toolkit.gold import read_gold
from ...toolkit.machine import usable_cores
from ...toolkit.options import duration
from ..generator import ALONE
from ..plan import REFERENCE_STACK, Grid, Plan, Point
from ..slo import Slo, parse_slo
from ..space import Choice, space
from ..sweep import Ground
from ..tune import next_users, score, tune
from .ratio import told

WARMUP_SECONDS = 1.0
FINAL_ROUNDS, FINAL_SECONDS = 5, 10.0

Load = tuple[int, float]
"""Users, and the score at them."""


def exhaustive(
    variant: str, slo: Slo, ground: Ground, first: int, passes: int, seconds: float
) -> dict[Choice, Load]:
    """Return every choice's users and score after so many passes; each follows its own latency."""
    engine = ground.variants[variant].manifest.recipe.engine
    loads: dict[Choice, Load] = dict.fromkeys(space(engine, usable_cores()), (first, 0.0))
    order = list(loads)
    with progress("exhaustive", passes * len(order)) as step:
        for number in range(passes):
            random.Random(number).shuffle(order)
            for choice in order:
                users = loads[choice][0]
                step(f"{choice}, {users} users")
                found, then = _measured(variant, slo, ground, choice, users, seconds)
                loads[choice] = (then, found) if number < passes - 1 else (users, found)
    return loads


def _measured(
    variant: str, slo: Slo, ground: Ground, choice: Choice, users: int, seconds: float
) -> tuple[float, int]:
    """Return a choice's score by so many users, and by how many it should be asked next."""
    point = Point(variant, REFERENCE_STACK, users)
    plan = Plan("tune", (Grid(),), seconds, WARMUP_SECONDS)
    cell = ground.measure(point, plan, 0, settings=choice.as_json())
    return score(cell, slo), next_users(cell, users, slo)


def final(
    variant: str, slo: Slo, ground: Ground, users: Mapping[Choice, int]
) -> dict[Choice, list[float]]:
    """Return the scores of a few choices, measured in turns."""
    found: dict[Choice, list[float]] = {choice: [] for choice in users}
    for number in range(FINAL_ROUNDS):
        for choice in list(users) if number % 2 else list(users)[::-1]:
            each, _ = _measured(variant, slo, ground, choice, users[choice], FINAL_SECONDS)
            found[choice].append(each)
    return found


def table(named: Mapping[str, Choice], scores: Mapping[Choice, Sequence[float]]) -> str:
    """Return the final round as Markdown: each choice's score, and its share of the best's."""
    best = scores[named["exhaustive search"]]
    lines = ["| | settings | requests/s in time | of the best |", "| --- | --- | ---: | ---: |"]
    for name, choice in named.items():
        ratios = [one / other for one, other in zip(scores[choice], best, strict=True)]
        mean = geometric_mean(scores[choice])
        share = "1" if scores[choice] is best else told(ratios)
        lines.append(f"| {name} | {choice} | {mean:.1f} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Tune, search everything, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--variant", default="onnx-int8")
    parser.add_argument("--slo", default="p95=100ms")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    try:
        slo, gold = parse_slo(given.slo), read_gold()
        built = gated(given.model, [standing(given.model, given.variant)], gold)
        ground = Ground.of(built, gold, ALONE)
        tuned = tune(given.variant, slo, duration(given.budget), ground)
        say(json.dumps(tuned.as_json()["best"]))
        first = tuned.usual.users
        loads = exhaustive(given.variant, slo, ground, first, given.passes, given.seconds)
        best = max(loads, key=lambda choice: loads[choice][1])
        named = {
            "exhaustive search": best,
            "`tune`": tuned.best.choice,
            "usual settings": tuned.usual.choice,
        }
        users = {choice: loads[choice][0] for choice in named.values()}
        print(table(named, final(given.variant, slo, ground, users)))
    except TiankongError as error:
        say(f"tuning: {error}")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
