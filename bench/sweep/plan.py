"""Plans: what a sweep measures.  Each is a TOML file in ``bench/plans/``.

    levels = [1, 4]       # closed loop: number of users, without think time
    rates = [20, 40.5]    # open loop: Poisson arrivals, requests per second
    tokens = [16, 128]    # sentences of this many tokens instead of the gold set
    batches = [1, 8]      # sentences in a request
    cores = [1, 2]        # number of cores the server is pinned to
    cache = 1000          # answers in the server's cache; without this key, no cache
    join = true           # identical sentences in flight are asked once; without this key, each
    variants = ["onnx-fp32", "@suited"]  # @suited: those that suit this CPU (availability.py)
    evidence = ["image"]  # measured once beside the cells (toolkit/runs/evidence.py)
    [[parts]]             # several grids in one plan; a part inherits the keys above it

Every variant is measured at every combination.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from ...toolkit.building.availability import SUITED, Skipped, Suited, suited
from ...toolkit.errors import UnusableInputError
from ...toolkit.fields import read_toml
from ...toolkit.files import package_path
from ...toolkit.runs.evidence import EVIDENCE
from ...toolkit.runs.load import ARTICLE_STACK, REFERENCE_STACK, Load
from ...toolkit.runs.point import Point

FOLDER = package_path("bench/plans")
GRID = ("levels", "rates", "tokens", "batches", "cores")
MOST_TOKENS, LEAST_TOKENS = 512, 8


@dataclass(frozen=True)
class Grid:
    """One part of a plan: every combination is measured.  An empty axis does not vary."""

    levels: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    cores: tuple[int, ...] = ()

    def points(self, variant: str, stack: str, repeat: int) -> Iterator[Point]:
        """Yield every point of one variant served by one stack."""
        axes = (self.tokens or (None,), self.batches or (1,), self.cores or (None,))
        for tokens, batch, cores in product(*axes):
            loads = [Load(users, None, tokens, batch, cores) for users in self.levels]
            loads += [Load(0, rate, tokens, batch, cores) for rate in self.rates]
            for load in loads:
                yield Point(variant, stack, load, repeat)


@dataclass(frozen=True)
class Plan:
    """What to measure: all points of the grids, ``repeats`` times for ``seconds`` each.

    ``variants`` empty means all.  ``yardstick`` names the variant that the article's server serves
    (empty: the article's server is not measured).  ``model`` is used if the user names none.
    A point that outside causes made invalid is measured up to ``attempts`` times.  ``cache`` is the
    number of answers in the reference server's cache (0: no cache), ``join`` whether it asks
    identical sentences in flight once.  ``evidence`` names what is measured once beside the cells.
    ``suited`` says which of the variants were chosen for this CPU, and why (None: the plan names
    them all).
    """

    name: str
    grids: tuple[Grid, ...]
    seconds: float
    warmup_seconds: float
    repeats: int = 1
    attempts: int = 1
    variants: tuple[str, ...] = ()
    yardstick: str = ""
    model: str = "builtin"
    cache: int = 0
    join: bool = False
    evidence: tuple[str, ...] = ()
    suited: Suited | None = None
    sentences: str = "the gold set, each sentence as it stands"

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object (lists for tuples)."""
        data = asdict(self)
        grids = [{key: list(value) for key, value in grid.items()} for grid in data["grids"]]
        levels = sorted({users for grid in self.grids for users in grid.levels})
        data |= {"grids": grids, "variants": list(self.variants), "levels": levels}
        # A plan without evidence, chosen variants or ``join`` is written as before there were any.
        evidence, _, join = data.pop("evidence"), data.pop("suited"), data.pop("join")
        if join:
            data["join"] = join
        if evidence:
            data["evidence"] = list(evidence)
        if self.suited:
            data["suited"] = dict(self.suited.reasons)
            data["not_suited"] = {entry.variant: entry.why for entry in self.suited.others}
        return data

    def of(self, variants: Sequence[str]) -> Plan:
        """Return the plan for the variants that the user names (none: for its own)."""
        return replace(self, variants=tuple(variants), suited=None) if variants else self

    @property
    def not_suited(self) -> tuple[Skipped, ...]:
        """The variants that ``@suited`` leaves out on this CPU, with one line why each."""
        return self.suited.others if self.suited else ()

    @property
    def batches(self) -> bool:
        """Whether a request has several sentences anywhere in the plan."""
        return any(size > 1 for grid in self.grids for size in grid.batches)

    def needs(self, *, target: bool = False) -> list[str]:
        """Return the variants to build: the plan's own and the yardstick; empty means all.

        A sweep of a running server (``target``) does not start the article's server.
        """
        yardstick = [self.yardstick] if self.yardstick and not target else []
        return [*self.variants, *yardstick] if self.variants else []

    def points(
        self, variants: Sequence[str], seed: int, stack: str = REFERENCE_STACK
    ) -> list[Point]:
        """Return every point in the order to measure: shuffled, so drift spreads over all rows.

        Each repeat is shuffled separately, so that the repeats of a point lie apart in time.
        """
        shuffler = random.Random(seed)
        result: list[Point] = []
        for repeat in range(1, self.repeats + 1):
            points = list(dict.fromkeys(self._once(variants, repeat, stack)))
            shuffler.shuffle(points)
            result += points
        return result

    def _once(self, variants: Sequence[str], repeat: int, stack: str) -> Iterator[Point]:
        for grid in self.grids:
            for variant in variants:
                yield from grid.points(variant, stack, repeat)
            if self.yardstick and stack == REFERENCE_STACK:
                for point in grid.points(self.yardstick, ARTICLE_STACK, repeat):
                    if point.load.batch == 1:  # the article's server takes one sentence per request
                        yield point


def read_plan(name: str) -> Plan:
    """Return a plan by name (``table``) or by path (``my.toml``); raise UnusableInputError."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise UnusableInputError(f"unknown plan {name!r}; known: {known}")
    return _plan(path.stem, read_toml(path, f"plan {path}"), f"plan {path.name}")


def _plan(name: str, data: Mapping[str, Any], origin: str) -> Plan:
    fields = set(Plan.__dataclass_fields__) - {"name", "sentences", "grids", "suited"}
    if unknown := sorted(set(data) - fields - {*GRID, "parts"}):
        raise UnusableInputError(f"{origin}: unknown key {unknown[0]!r}")
    for key in ("seconds", "warmup_seconds"):
        if key not in data:
            raise UnusableInputError(f"{origin}: {key!r} is missing")
    for key in ("repeats", "attempts"):
        if not _whole(data.get(key, 1)):
            raise UnusableInputError(f"{origin}: {key!r} is not a whole number above 0")
    _check_server(data, origin)
    for key, least in (("seconds", 1), ("warmup_seconds", 0)):
        value = data[key]
        if not _number(value) or not least <= value < math.inf:
            raise UnusableInputError(f"{origin}: {key!r} is not a number of at least {least}")
    _check_names(data, origin)
    options = {key: value for key, value in data.items() if key in fields}
    lists = {key: tuple(data.get(key, ())) for key in ("variants", "evidence")}
    plan = Plan(name, _grids(data, origin), **(options | lists))
    if SUITED not in plan.variants:
        return plan
    those = suited()
    return replace(plan, variants=those.expand(plan.variants), suited=those)


def _grids(data: Mapping[str, Any], origin: str) -> tuple[Grid, ...]:
    shared = {key: data[key] for key in GRID if key in data}
    parts = data.get("parts", [{}])
    if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
        raise UnusableInputError(f"{origin}: 'parts' is not an array of tables")
    for part in parts:
        if unknown := sorted(set(part) - set(GRID)):
            raise UnusableInputError(f"{origin}: unknown key {unknown[0]!r} in a part")
    return tuple(_grid(shared | part, origin) for part in parts)


def _grid(data: Mapping[str, Any], origin: str) -> Grid:
    for key in GRID:
        fits, kind = (_number, "numbers") if key == "rates" else (_whole, "whole numbers")
        values = data.get(key, [])
        if not isinstance(values, list) or not all(fits(n) and n > 0 for n in values):
            raise UnusableInputError(f"{origin}: {key!r} is not a list of {kind} above 0")
    if not data.get("levels") and not data.get("rates"):
        raise UnusableInputError(f"{origin}: neither 'levels' nor 'rates' has an entry")
    for tokens in data.get("tokens", []):
        if not LEAST_TOKENS <= tokens <= MOST_TOKENS:
            raise UnusableInputError(
                f"{origin}: 'tokens' must lie in {LEAST_TOKENS}..{MOST_TOKENS}, not {tokens}"
            )
    return Grid(**{key: tuple(value) for key, value in data.items()})


def _check_server(data: Mapping[str, Any], origin: str) -> None:
    if "cache" in data and not _whole(data["cache"]):
        raise UnusableInputError(f"{origin}: 'cache' is not a whole number above 0")
    if not isinstance(data.get("join", False), bool):
        raise UnusableInputError(f"{origin}: 'join' is neither true nor false")


def _check_names(data: Mapping[str, Any], origin: str) -> None:
    variants = data.get("variants", [])
    if not isinstance(variants, list) or not all(isinstance(v, str) for v in variants):
        raise UnusableInputError(f"{origin}: 'variants' is not a list of names")
    evidence = data.get("evidence", [])
    if not isinstance(evidence, list) or not all(name in EVIDENCE for name in evidence):
        raise UnusableInputError(f"{origin}: 'evidence' is not a list of {', '.join(EVIDENCE)}")
    for key in ("yardstick", "model"):
        if not isinstance(data.get(key, ""), str):
            raise UnusableInputError(f"{origin}: {key!r} is not a name")


def _number(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
