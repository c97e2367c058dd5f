"""Plans: what a sweep measures, one TOML file each in ``bench/plans/``."""

from __future__ import annotations

import math
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..toolkit.errors import UnusableInputError

FOLDER = Path(__file__).parent / "plans"
REFERENCE_STACK, ARTICLE_STACK = "reference", "article"


@dataclass(frozen=True)
class Point:
    """One cell to measure."""

    variant: str
    stack: str
    users: int
    repeat: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """The key its cell will have."""
        return (self.variant, self.stack, self.users, self.repeat)


@dataclass(frozen=True)
class Plan:
    """Closed loop: ``levels`` users without think time, ``seconds`` measured after the warm-up.

    ``variants`` empty means all.  ``yardstick`` names the variant the article's server serves
    (empty: leave the article's server out).  ``model`` is used where the user names none.
    """

    name: str
    levels: tuple[int, ...]
    seconds: float
    warmup_seconds: float
    repeats: int = 1
    variants: tuple[str, ...] = ()
    yardstick: str = ""
    model: str = "builtin"
    sentences: str = "the gold set, each sentence as it stands"

    def as_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object (lists for tuples)."""
        lists = {"levels": list(self.levels), "variants": list(self.variants)}
        return asdict(self) | lists

    def points(self, variants: Sequence[str], seed: int) -> list[Point]:
        """Return every point in the order to measure: shuffled, so drift spreads over all rows."""
        rows = [(name, REFERENCE_STACK) for name in variants]
        if self.yardstick:
            rows.append((self.yardstick, ARTICLE_STACK))
        points = [
            Point(variant, stack, users, repeat)
            for repeat in range(1, self.repeats + 1)
            for variant, stack in rows
            for users in self.levels
        ]
        random.Random(seed).shuffle(points)
        return points


def read_plan(name: str) -> Plan:
    """Return a plan by name (``table``) or by path (``my.toml``); raise UnusableInputError."""
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise UnusableInputError(f"unknown plan {name!r}; known: {known}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UnusableInputError(f"plan {path} cannot be read: {error}") from None
    return _plan(path.stem, data, f"plan {path.name}")


def _plan(name: str, data: Mapping[str, Any], origin: str) -> Plan:
    fields = set(Plan.__dataclass_fields__) - {"name", "sentences"}
    if unknown := sorted(set(data) - fields):
        raise UnusableInputError(f"{origin}: unknown key {unknown[0]!r}")
    for key in ("levels", "seconds", "warmup_seconds"):
        if key not in data:
            raise UnusableInputError(f"{origin}: {key!r} is missing")
    levels = data["levels"]
    if not isinstance(levels, list) or not levels or not all(_whole(n) for n in levels):
        raise UnusableInputError(f"{origin}: 'levels' is not a list of whole numbers above 0")
    if not _whole(data.get("repeats", 1)):
        raise UnusableInputError(f"{origin}: 'repeats' is not a whole number above 0")
    for key, least in (("seconds", 1), ("warmup_seconds", 0)):
        value = data[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not least <= value < math.inf:
            raise UnusableInputError(f"{origin}: {key!r} is not a number of at least {least}")
    _check_names(data, origin)
    variants = data.get("variants", [])
    return Plan(name, **(dict(data) | {"levels": tuple(levels), "variants": tuple(variants)}))


def _check_names(data: Mapping[str, Any], origin: str) -> None:
    variants = data.get("variants", [])
    if not isinstance(variants, list) or not all(isinstance(v, str) for v in variants):
        raise UnusableInputError(f"{origin}: 'variants' is not a list of names")
    for key in ("yardstick", "model"):
        if not isinstance(data.get(key, ""), str):
            raise UnusableInputError(f"{origin}: {key!r} is not a name")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
