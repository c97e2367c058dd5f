"""Scaling: points that show how speed grows with one field of the load, the others being equal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...toolkit.runs.load import Load
from .points import MeasuredPoint, Series

LEAST_LEVELS = 2  # with fewer, no growth can be seen
LEAST_PLAIN_LEVELS = 5  # fewer levels of users are a table, not a curve


@dataclass(frozen=True)
class Axis:
    """Points that differ in one field of their load, ``name``; ``fixed`` holds the other fields.

    In ``fixed`` the varied field itself has its usual value.
    """

    name: str
    fixed: Load
    points: tuple[MeasuredPoint, ...]

    def level(self, point: MeasuredPoint) -> int:
        """Return a point's value on the axis."""
        return int(getattr(point.load, self.name))

    @property
    def levels(self) -> tuple[int, ...]:
        """The axis's values in rising order."""
        return tuple(sorted({self.level(point) for point in self.points}))

    def base(self, point: MeasuredPoint) -> MeasuredPoint:
        """Return the point of the same series at its lowest level."""
        return self._bases[point.series]

    @cached_property
    def _bases(self) -> dict[Series, MeasuredPoint]:
        bases: dict[Series, MeasuredPoint] = {}
        for point in sorted(self.points, key=self.level):
            bases.setdefault(point.series, point)
        return bases


@dataclass(frozen=True)
class Scaling:
    """The axes for which a report has points, and the points that are on no axis."""

    axes: tuple[Axis, ...]
    others: tuple[MeasuredPoint, ...]

    @property
    def points(self) -> tuple[MeasuredPoint, ...]:
        """All points of all axes, without duplicates."""
        return tuple({point.key: point for axis in self.axes for point in axis.points}.values())


def scaling(measured: Sequence[MeasuredPoint]) -> Scaling:
    """Return the axes of closed-loop points: for each field, the axis with the most levels."""
    closed = [point for point in measured if not point.load.is_open]
    axes = tuple(axis for make in _MAKERS if (axis := make(closed)))
    shown = {point.key for axis in axes for point in axis.points}
    others = (point for point in closed if point.load.shaped and point.key not in shown)
    return Scaling(axes, tuple(others))


def _tokens(closed: Sequence[MeasuredPoint]) -> Axis | None:
    def fits(load: Load) -> bool:
        return load.tokens is not None and (load.batch, load.cores) == (1, None)

    return _axis("tokens", closed, fits)


def _batch(closed: Sequence[MeasuredPoint]) -> Axis | None:
    return _axis("batch", closed, lambda load: load.cores is None)


def _cores(closed: Sequence[MeasuredPoint]) -> Axis | None:
    return _axis("cores", closed, lambda load: load.cores is not None)


def _users(closed: Sequence[MeasuredPoint]) -> Axis | None:
    def fits(load: Load) -> bool:
        return load.tokens is not None and (load.batch, load.cores) == (1, None)

    plain = _axis("users", closed, lambda load: load.plain)
    if plain is not None and len(plain.levels) < LEAST_PLAIN_LEVELS:
        plain = None
    return _axis("users", closed, fits) or plain


_MAKERS = (_tokens, _batch, _cores, _users)
_USUAL = {"tokens": None, "batch": 1, "cores": None, "users": 0}


def _axis(name: str, closed: Sequence[MeasuredPoint], fits: Callable[[Load], bool]) -> Axis | None:
    groups: dict[Load, list[MeasuredPoint]] = defaultdict(list)
    for point in closed:
        if fits(point.load):
            rest: dict[str, int | None] = {name: _USUAL[name]}
            groups[replace(point.load, **rest)].append(point)  # type: ignore[arg-type]
    axes = (Axis(name, fixed, _by_level(name, own)) for fixed, own in groups.items())
    known = [axis for axis in axes if len(axis.levels) >= LEAST_LEVELS]
    return max(known, key=lambda axis: (len(axis.levels), len(axis.points)), default=None)


def _by_level(name: str, own: Sequence[MeasuredPoint]) -> tuple[MeasuredPoint, ...]:
    places: dict[Series, int] = {}
    for point in own:
        places.setdefault(point.series, len(places))
    return tuple(sorted(own, key=lambda point: (places[point.series], getattr(point.load, name))))
