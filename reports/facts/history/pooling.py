"""Pooling: which runs may share a report, as repeats of each other or as a history.

Runs of which nothing differs are pooled.  Runs on one machine with one model and gold set that
differ in versions, in variants' files, or (where they measured the same point) in the commit are
epochs of a history: figures of two epochs are never averaged.  All others are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from ....toolkit.errors import UnusableInputError
from ....toolkit.runs.point import Point
from ....toolkit.runs.run_file import Header, Run

# Parts of a header that must be equal in all runs: speed and answers depend on each of them.
SHARED = ("model", "gold", "machine")
# Parts that may differ from epoch to epoch: software, which is replaced as time goes by.
SOFTWARE = ("tool", "versions")
SOFTWARE_OF_MACHINE = ("kernel", "python")
# Parts of a plan that must be equal if two runs measured the same point: repeats are averaged.
SHARED_PLAN = ("seconds", "warmup_seconds")

Difference = tuple[str, Any, Any]  # a field of the header, its value in one run and in another
Epoch = tuple[Run, ...]


def epochs(runs: Sequence[Run]) -> tuple[Epoch, ...]:
    """Return runs in groups to be pooled: one, or the epochs of a history, the newest last.

    Raises UnusableInputError if a run is given twice, if two runs are of different machines,
    models or gold sets, or if two that would be pooled measured one point with different windows.
    """
    _refuse_mixture(runs)
    if not any(_apart(one, other) for one, other in combinations(runs, 2)):
        grouped: list[list[Run]] = [[*runs]]
    else:
        grouped = []
        for run in sorted(runs, key=lambda run: (run.header.started, run.header.run)):
            if grouped and not any(_apart(earlier, run) for earlier in grouped[-1]):
                grouped[-1].append(run)
            else:
                grouped.append([run])
    for group in grouped:
        for one, other in combinations(group, 2):
            _refuse_windows(one, other)
    return tuple(tuple(group) for group in grouped)


def places(runs: Sequence[Run]) -> tuple[Epoch, ...]:
    """Return runs in groups of one machine, model and gold set, in the order of the first runs.

    Raises UnusableInputError if a run is given twice.
    """
    _refuse_twice(runs)
    groups: list[list[Run]] = []
    for run in runs:
        for group in groups:
            if not any(_differences(group[0].header, run.header)):
                group.append(run)
                break
        else:
            groups.append([run])
    return tuple(tuple(group) for group in groups)


def software(one: Header, other: Header) -> Iterator[Difference]:
    """Yield what may differ between epochs and does: versions, variants' digests."""
    for part in SOFTWARE:
        yield from unequal(part, getattr(one, part), getattr(other, part))
    for key in SOFTWARE_OF_MACHINE:
        yield from unequal(f"machine.{key}", one.machine.get(key), other.machine.get(key))
    for name in one.variants.keys() & other.variants.keys():
        here, there = one.variants[name]["digest"], other.variants[name]["digest"]
        yield from unequal(f"variants.{name}.digest", here, there)


def unequal(field: str, one: Any, other: Any) -> Iterator[Difference]:
    """Yield the leaves in which two values differ."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in sorted(one.keys() | other.keys()):
            yield from unequal(f"{field}.{key}", one.get(key), other.get(key))
    elif one != other:
        yield field, one, other


def _apart(one: Run, other: Run) -> bool:
    """Tell whether two runs belong to different epochs."""
    if any(software(one.header, other.header)):
        return True
    return one.header.commit != other.header.commit and bool(_points(one) & _points(other))


def _refuse_mixture(runs: Sequence[Run]) -> None:
    _refuse_twice(runs)
    first = runs[0].header
    for run in runs[1:]:
        for field, here, there in _differences(first, run.header):
            raise UnusableInputError(
                f"runs {first.run!r} and {run.header.run!r} cannot share a report: {field} differs"
                f" ({here!r}, {there!r}); report them apart, or with --side-by-side"
            )


def _refuse_twice(runs: Sequence[Run]) -> None:
    for name, count in Counter(run.header.run for run in runs).items():
        if count > 1:
            raise UnusableInputError(f"run {name!r} is given twice")


def _refuse_windows(one: Run, other: Run) -> None:
    """Refuse runs that measured the same point with different windows."""
    if not _points(one) & _points(other):
        return
    for key in SHARED_PLAN:
        here, there = one.header.plan.get(key), other.header.plan.get(key)
        if here != there:
            raise UnusableInputError(
                f"runs {one.header.run!r} and {other.header.run!r} measured the same point, but"
                f" plan.{key} differs ({here!r}, {there!r}); report them apart"
            )


def _points(run: Run) -> set[Point]:
    return {cell.point.gathered for cell in run.cells}


def _differences(one: Header, other: Header) -> Iterator[Difference]:
    """Yield what must not differ and does."""
    for part in SHARED:
        for found in unequal(part, getattr(one, part), getattr(other, part)):
            if found[0] not in {f"machine.{key}" for key in SOFTWARE_OF_MACHINE}:
                yield found
