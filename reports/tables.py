"""Points: the cells of a run gathered by variant, stack and users, as a reader compares them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..toolkit.runs import Cell, Run, Warn

ARTICLE_STACK = "article"

Series = tuple[str, str]  # variant, stack


@dataclass(frozen=True)
class Spread:
    """The median over repeats and the range it came from, in the unit of what was measured."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Doubt:
    """A warning and the cell it is about."""

    cell: Cell
    warn: Warn


@dataclass(frozen=True)
class Point:
    """One variant behind one stack at one number of users, over its repeats.

    Latencies are milliseconds (None: too few answers), CPU percent of the whole machine.  Figures
    come from the valid repeats, or from all where none is valid; ``failures``, ``wrong`` and
    ``doubts`` count every repeat.  ``ratio`` is QPS over that of the article's server in the run.
    """

    variant: str
    stack: str
    users: int
    repeats: int
    valid_repeats: int
    qps: Spread
    qps_per_core: float
    mean_ms: float
    p50_ms: Spread | None
    p95_ms: Spread | None
    server_cpu_percent: float
    generator_cpu_percent: float
    resident_bytes: int
    failures: int
    wrong: int
    doubts: tuple[Doubt, ...]
    ratio: float | None = None

    @property
    def series(self) -> Series:
        """What the point's line in a plot is called by."""
        return (self.variant, self.stack)

    @property
    def valid(self) -> bool:
        """Whether at least one repeat is valid."""
        return self.valid_repeats > 0


@dataclass(frozen=True)
class Gate:
    """What the gate said about a variant; shares lie in 0..1."""

    passed: bool
    hit_at_1: float
    hit_at_5: float
    top1_agreement: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class VariantRow:
    """A variant's files (bytes), gate (None: never asked) and memory by stack (bytes)."""

    name: str
    entry: Mapping[str, Any]
    file_bytes: int | None
    total_bytes: int | None
    gate: Gate | None
    memory: tuple[tuple[str, int], ...]


def points(runs: Sequence[Run], article_variant: str) -> tuple[Point, ...]:
    """Return the points of runs that may be mixed: the article's server first, then by variant."""
    cores = int(runs[0].header.machine["usable_cores"])
    every = [cell for run in runs for cell in run.cells]
    ratios = [_ratios(run, article_variant) for run in runs]
    found = [
        replace(_point(cells, cores), ratio=_ratio(ratios, key))
        for key, cells in _grouped(every).items()
    ]
    order = list(dict.fromkeys(name for run in runs for name in run.header.variants))
    return tuple(sorted(found, key=lambda point: _place(point, order)))


def _place(point: Point, order: Sequence[str]) -> tuple[bool, int, str, str, int]:
    place = order.index(point.variant) if point.variant in order else len(order)
    return (point.stack != ARTICLE_STACK, place, point.variant, point.stack, point.users)


def _grouped(cells: Iterable[Cell]) -> dict[tuple[str, str, int], list[Cell]]:
    groups: dict[tuple[str, str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.variant, cell.stack, cell.users].append(cell)
    return groups


def _point(cells: Sequence[Cell], cores: int) -> Point:
    valid = [cell for cell in cells if cell.valid]
    counted = valid or cells
    first = cells[0]
    qps = Spread.of([cell.qps for cell in counted])
    return Point(
        variant=first.variant,
        stack=first.stack,
        users=first.users,
        repeats=len(cells),
        valid_repeats=len(valid),
        qps=qps,
        qps_per_core=qps.median / cores,
        mean_ms=statistics.median(cell.mean_ms for cell in counted),
        p50_ms=_percentile(counted, 50),
        p95_ms=_percentile(counted, 95),
        server_cpu_percent=statistics.median(cell.server_cpu_percent for cell in counted),
        generator_cpu_percent=statistics.median(cell.generator_cpu_percent for cell in counted),
        resident_bytes=max(cell.resident_bytes for cell in cells),
        failures=sum(cell.failed for cell in cells),
        wrong=sum(cell.wrong for cell in cells),
        doubts=tuple(Doubt(cell, warn) for cell in cells for warn in cell.warnings()),
    )


def _percentile(cells: Sequence[Cell], rank: int) -> Spread | None:
    found = [cell.percentile_ms(rank) for cell in cells]
    known = [value for value in found if value is not None]
    # A slow repeat answers less: leaving out those with too few answers would flatter the rest.
    return Spread.of(known) if len(known) == len(found) else None


def _yardstick(run: Run, article_variant: str) -> str | None:
    """Return the variant the article's server ran: the article's own, else the only one."""
    behind = {cell.variant for cell in run.cells if cell.stack == ARTICLE_STACK}
    if article_variant in behind:
        return article_variant
    return behind.pop() if len(behind) == 1 else None


def _ratios(run: Run, article_variant: str) -> dict[tuple[str, str, int], float]:
    rates = {
        key: statistics.median(cell.qps for cell in cells if cell.valid)
        for key, cells in _grouped(run.cells).items()
        if any(cell.valid for cell in cells)
    }
    yardstick = _yardstick(run, article_variant)
    if yardstick is None:
        return {}
    return {
        key: rate / base
        for key, rate in rates.items()
        if (base := rates.get((yardstick, ARTICLE_STACK, key[2])))
    }


def _ratio(
    ratios: Sequence[Mapping[tuple[str, str, int], float]], key: tuple[str, str, int]
) -> float | None:
    """Return the median over runs of a ratio that was formed inside each run."""
    found = [run[key] for run in ratios if key in run]
    return statistics.median(found) if found else None


def article_points(found: Sequence[Point], article_variant: str) -> dict[int, Point]:
    """Return the points of the article's server, by users."""
    behind = [point for point in found if point.stack == ARTICLE_STACK]
    own = [point for point in behind if point.variant == article_variant]
    if not own and len({point.variant for point in behind}) == 1:
        own = behind
    return {point.users: point for point in own}


def variant_rows(runs: Sequence[Run], found: Sequence[Point]) -> tuple[VariantRow, ...]:
    """Return every variant of the runs' headers, and any that only cells name."""
    entries: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        entries.update(run.header.variants)
    for point in found:
        entries.setdefault(point.variant, {})
    return tuple(_variant_row(name, entry, found) for name, entry in entries.items())


def _variant_row(name: str, entry: Mapping[str, Any], found: Sequence[Point]) -> VariantRow:
    memory: dict[str, int] = {}
    for point in found:
        if point.variant == name:
            memory[point.stack] = max(memory.get(point.stack, 0), point.resident_bytes)
    return VariantRow(
        name,
        entry,
        entry.get("model_file_size"),
        entry.get("size"),
        _gate(entry.get("gate")),
        tuple(memory.items()),
    )


def _gate(data: Mapping[str, Any] | None) -> Gate | None:
    if data is None:
        return None
    return Gate(
        bool(data["passed"]),
        data["hit_at_1"],
        data["hit_at_5"],
        data["top1_agreement"],
        tuple(str(reason) for reason in data.get("reasons", ())),
    )
