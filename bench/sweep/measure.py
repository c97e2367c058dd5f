"""Measuring one cell: a server under one load, with its CPU time, memory and energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ...server.settings import Settings, Stack, table
from ...toolkit.machine import digest, fingerprint
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import ARTICLE_STACK
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import is_disturbed
from ..load.generator import ALONE, Generators, Samples, connections, generate
from ..load.job import Job
from ..load.sentences import Questions
from ..load.target import Target
from ..serving.accounting import Counters, memory, snapshot, usage
from ..serving.served import Served, in_force, running, serve
from ..serving.stage_times import StageTimes, mean_ms, stage_times

ARTICLE_SETTINGS = {"workers": 2, "threads": 4}
# The reference server's settings that a cell records, as the server reports them.
SETTINGS = (*(row.name for row in table("speed")), "least_threads")


@dataclass(frozen=True)
class Window:
    """How a point is measured: length, warm-up, load generators, seed, number of the attempt."""

    seconds: float
    warmup_seconds: float
    generators: Generators = ALONE
    seed: int = 0
    attempt: int = 1


def server_of(
    point: Point, settings: Settings, target: Target | None = None
) -> AbstractContextManager[Served]:
    """Serve a point's variant behind its stack, or use the server that runs at ``target``."""
    if target is not None:
        return running(target)
    stack: Stack = "article" if point.stack == ARTICLE_STACK else "reference"
    return serve(stack, settings, point.load.cores)


def measure(point: Point, server: Served, questions: Questions, window: Window) -> Cell:
    """Measure one point on a running server.

    Raises InvalidMeasurementError if the generator ends without results.
    """
    started = datetime.now(UTC).isoformat(timespec="seconds")
    before = fingerprint()
    edges: list[Counters] = []
    resident: list[tuple[int | None, int | None]] = []
    staged: list[StageTimes] = []

    own = [] if server.pid is None else [server.pid]
    servers = None if server.is_hidden else own
    tells = bool(stage_times(server.target))  # others are not asked while they are measured

    def opened(generator: int) -> None:
        edges.append(snapshot(servers, generator))
        staged.append(stage_times(server.target) if tells else {})

    def closed(generator: int) -> None:
        edges.append(snapshot(servers, generator))
        resident.append((None, None) if server.pid is None else memory(server.pid))
        staged.append(stage_times(server.target) if tells else {})

    samples = generate(_job(point, server, questions, window), opened, closed, window.generators)
    return Cell(
        point,
        **_times(samples),
        **_used(edges, samples, server.pid is None),
        started=started,
        attempt=window.attempt,
        warmup_seconds=window.warmup_seconds,
        resident_bytes=resident[0][0],
        proportional_bytes=resident[0][1],
        start_seconds=round(server.start_seconds, 3),
        settings=_settings(point, server),
        machine=digest(before),
        changes=differences(before, fingerprint()),
        stages=mean_ms(*staged),
    )


def undisturbed(point: Point, server: Served, questions: Questions, window: Window) -> Cell:
    """Measure one point on a running server, and once more if an outside cause disturbed it.

    Raises InvalidMeasurementError as :func:`measure` does.
    """
    cell = measure(point, server, questions, window)
    again = replace(window, attempt=window.attempt + 1)
    return measure(point, server, questions, again) if is_disturbed(cell) else cell


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys in which two fingerprints differ."""
    return sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))


def _job(point: Point, server: Served, questions: Questions, window: Window) -> Job:
    load = point.load
    return Job(
        targets=[server.target],
        sentences=questions.texts,
        expected=questions.expected,
        users=load.users or connections(load.rate or 0.0),
        rate=load.rate,
        batch=load.batch,
        warmup_seconds=window.warmup_seconds,
        seconds=window.seconds,
        seed=window.seed + point.repeat,
    )


def _times(samples: Samples) -> dict[str, Any]:
    names = ("seconds", "latencies_ms", "ends_ms", "late_ms", "failures", "wrong", "examples")
    return {name: getattr(samples, name) for name in names}


def _used(edges: Sequence[Counters], samples: Samples, is_unknown: bool) -> dict[str, Any]:
    used = usage(*edges)
    return {
        "server_cpu_percent": None if is_unknown or used.server is None else round(used.server, 2),
        "server_quota_percent": None if used.server_quota is None else round(used.server_quota, 2),
        "generator_cpu_percent": round(used.generator, 2),
        "generator_core_percent": round(samples.core_percent, 2),
        "generator_wait_percent": round(samples.wait_percent, 2),
        "generator_late_ms": round(samples.heartbeat_ms, 3),
        "generators": samples.generators,
        "other_cpu_percent": None if used.other is None else round(used.other, 2),
        "steal_percent": round(used.steal, 2),
        "throttled_percent": round(used.throttled, 2),
        "swapped_bytes": used.swapped,
        "joules": used.joules,
    }


def _settings(point: Point, server: Served) -> dict[str, Any]:
    if server.settings is None:
        return {}
    if point.stack == ARTICLE_STACK:
        return dict(ARTICLE_SETTINGS)
    settings = in_force(server.target, point.variant)
    return {name: settings[name] for name in SETTINGS}
