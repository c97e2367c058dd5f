"""The ground: what all points of a run share, and the run file header that records it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...server.settings import Settings
from ...toolkit.building.folders import Built
from ...toolkit.engines.kinds import kind_of
from ...toolkit.errors import UnusableInputError
from ...toolkit.gate.answers import Answers, load
from ...toolkit.gate.gold import GoldSet
from ...toolkit.machine import fingerprint, versions
from ...toolkit.models.source import file_name
from ...toolkit.origin import command_line, commit
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.point import Point
from ...toolkit.runs.run_file import (
    SEARCH_FORMAT,
    SWEEP_FORMAT,
    Header,
)
from ..load.generator import ALONE, Generators
from ..load.greeting import Greeting
from ..load.sentences import Questions, ask, gold_questions, of_length
from ..load.target import Target
from ..serving.served import Served
from .measure import Window, measure, server_of


@dataclass(frozen=True)
class Ground:
    """What all points of a run share: variants, their expected answers, the load generators.

    ``target`` is a server that runs already (None: start one for each point);
    ``cache`` is the number of answers that the reference server's answer cache may hold, ``join``
    whether it asks identical sentences in flight once.
    """

    variants: Mapping[str, Built]
    answers: Mapping[str, Answers]
    gold: GoldSet
    generators: Generators = ALONE
    target: Target | None = None
    cache: int = 0
    join: bool = False

    @classmethod
    def of(
        cls,
        variants: Sequence[Built],
        gold: GoldSet,
        generators: Generators,
        greeting: Greeting | None = None,
        cache: int = 0,
        join: bool = False,
    ) -> Ground:
        """Return the ground of variants that passed the gate; ``greeting``: of a running server.

        Raises UnusableInputError if a variant's expected answers to the gold set are not stored, or
        if the running server does not give those of the one variant.
        """
        by_name = {built.manifest.variant: built for built in variants}
        answers = {name: load(name, b.manifest.digest, gold) for name, b in by_name.items()}
        if greeting is None:
            return cls(by_name, answers, gold, generators, None, cache, join)
        [name] = require_one(list(by_name))
        texts = {item.id: item.text for item in gold.items}
        rankings = answers[name].rankings
        right = {texts[item]: ranking for item, ranking in rankings.items()}
        greeting.require(name, right, by_name[name].manifest.model.get("parameters"))
        return cls(by_name, answers, gold, generators, greeting.target, cache, join)

    def as_json(self) -> dict[str, Any]:
        """Return the part of the ground that is recorded in a run's plan."""
        return {
            "generators": vars(self.generators),
            "target": self.target.url if self.target else "",
        }

    def measure(self, point: Point, window: Window) -> Cell:
        """Measure one point with a fresh server; the ground's generators make the load.

        Raises InvalidMeasurementError if the server or the generator ended on its own,
        UnusableInputError if the variant was built anew since the run began.
        """
        built = self.variants[point.variant]
        built.require_same()  # another command may have built it of other weights
        usual = Settings(folder=built.folder, cache=self.cache, join=self.join)
        window = replace(window, generators=self.generators)
        with server_of(point, replace(usual, **dict(point.settings)), self.target) as server:
            questions = self._questions(point, server, window.seed)
            return measure(point, server, questions, window)

    def _questions(self, point: Point, server: Served, seed: int) -> Questions:
        tokens = point.load.tokens
        if tokens is None:
            return gold_questions(self.gold, self.answers[point.variant], seed)
        folder = self.variants[point.variant].folder
        return ask(server.target, of_length(folder, self.gold, tokens, seed))


def require_one(variants: Sequence[str]) -> Sequence[str]:
    """Return the one variant of a running server; raise UnusableInputError for more or none."""
    if len(variants) != 1:
        raise UnusableInputError("a running server has one variant: name it with --variants")
    return variants


def new_header(
    name: str,
    plan: Mapping[str, Any],
    ground: Ground,
    seed: int | None = None,
    *,
    is_search: bool = False,
) -> Header:
    """Return the header of a run that starts now; only the cells of a search have stages."""
    now = datetime.now(UTC)
    gold = ground.gold
    model = next(iter(ground.variants.values())).manifest.model
    title = str(model["title" if model.get("source") == "folder" else "name"])
    engines = [kind_of(built.manifest.recipe.engine) for built in ground.variants.values()]
    installed = versions(*(name for kind in engines for name in kind.distributions))
    return Header(
        run=f"{now:%Y%m%dT%H%M%S}Z-{name}-{file_name(title)}",
        started=now.isoformat(timespec="seconds"),
        tool=installed["tiankong"],
        model=dict(model),
        gold={"name": gold.name, "sha256": gold.digest, "items": len(gold.items)},
        plan=plan,
        seed=random.SystemRandom().randrange(2**31) if seed is None else seed,
        machine=fingerprint(),
        versions=installed,
        variants={name: _entry(built) for name, built in ground.variants.items()},
        format=SEARCH_FORMAT if is_search else SWEEP_FORMAT,
        command=command_line(),
        commit=commit(),
    )


def _entry(built: Built) -> Mapping[str, Any]:
    manifest = built.manifest
    return {
        "digest": manifest.digest,
        "size": manifest.size,
        "model_file_size": manifest.model_file_size,
        "engine": manifest.recipe.engine,
        "summary": manifest.recipe.summary,
        "notes": dict(manifest.notes),
        "gate": None if manifest.gate is None else dict(manifest.gate),
    }
