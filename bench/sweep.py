"""The sweep: every point of a plan measured with a fresh server and a fresh generator."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..toolkit.answers import Answers, load
from ..toolkit.build import Built
from ..toolkit.console import progress, say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import artifacts
from ..toolkit.gold import GoldSet
from ..toolkit.machine import fingerprint, versions
from ..toolkit.runs import Cell, Header, append_cell, create_run, read_run
from .accounting import Snapshot, memory, snapshot, usage
from .generator import Load, generate
from .plan import Plan, Point
from .served import serve


def sweep(plan: Plan, variants: Sequence[Built], gold: GoldSet, seed: int | None = None) -> Path:
    """Measure what the plan asks for and return the run file.

    A run of the same plan, model, variants, gold set, versions and machine that was interrupted
    is continued where it stopped; otherwise a new one begins.
    """
    header = _header(plan, variants, gold, seed)
    by_name = {built.manifest.variant: built for built in variants}
    answers = {name: load(name, b.manifest.digest, gold) for name, b in by_name.items()}
    path = _unfinished(header, plan) or _begin(header)
    header = read_run(path).header
    done = {cell.key for cell in read_run(path).cells}
    points = _points(plan, header)
    todo = [point for point in points if point.key not in done]
    if done:
        say(f"sweep: going on with {path} ({len(done)} of {len(points)} cells are there)")
    sentences = _shuffled(gold, header.seed)
    with progress("sweep", len(todo)) as step:
        for number, point in enumerate(todo, start=len(done) + 1):
            stack = "" if point.stack == "reference" else f" on the {point.stack}'s server"
            step(f"{number}/{len(points)} {point.variant}{stack}, {point.users} users")
            built, expected = by_name[point.variant], answers[point.variant]
            append_cell(path, measure(point, plan, built.folder, sentences, expected))
    return path


def measure(
    point: Point, plan: Plan, folder: Path, sentences: Sequence[tuple[str, str]], answers: Answers
) -> Cell:
    """Measure one point; ``sentences`` are (gold id, text) in the order they are sent."""
    started = datetime.now(UTC).isoformat(timespec="seconds")
    edges: list[Snapshot] = []
    resident: list[tuple[int, int | None]] = []
    with serve("article" if point.stack == "article" else "reference", folder) as server:
        load_spec = Load(
            url=server.url,
            users=point.users,
            seconds=plan.seconds,
            warmup_seconds=plan.warmup_seconds,
            sentences=[text for _, text in sentences],
            expected=[list(answers.rankings[item][:10]) for item, _ in sentences],
        )

        def opened(generator: int) -> None:
            edges.append(snapshot(server.pid, generator))

        def closed(generator: int) -> None:
            edges.append(snapshot(server.pid, generator))
            resident.append(memory(server.pid))

        samples = generate(load_spec, opened, closed)
    used = usage(*edges)
    return Cell(
        variant=point.variant,
        stack=point.stack,
        users=point.users,
        repeat=point.repeat,
        seconds=samples.seconds,
        latencies_ms=samples.latencies_ms,
        started=started,
        warmup_seconds=plan.warmup_seconds,
        failures=samples.failures,
        wrong=samples.wrong,
        examples=samples.examples,
        server_cpu_percent=round(used.server, 2),
        generator_cpu_percent=round(used.generator, 2),
        other_cpu_percent=round(used.other, 2),
        generator_core_percent=round(used.generator_core, 2),
        steal_percent=round(used.steal, 2),
        resident_bytes=resident[0][0],
        proportional_bytes=resident[0][1],
        start_seconds=round(server.start_seconds, 3),
        settings=_settings(point, server.settings.streams, server.settings.threads),
    )


def _settings(point: Point, streams: int, threads: int) -> dict[str, Any]:
    if point.stack == "article":
        return {"workers": 2, "threads": 4}
    return {"streams": streams, "threads": threads}


def _points(plan: Plan, header: Header) -> list[Point]:
    names = [n for n in header.variants if not plan.variants or n in plan.variants]
    return plan.points(names, header.seed)


def _header(plan: Plan, variants: Sequence[Built], gold: GoldSet, seed: int | None) -> Header:
    if not variants:
        raise UnusableInputError("there is no variant to sweep: build one first")
    names = [built.manifest.variant for built in variants]
    if plan.yardstick and plan.yardstick not in names:
        raise UnusableInputError(
            f"plan {plan.name} needs {plan.yardstick} for the article's server: build it too"
        )
    now = datetime.now(UTC)
    model = variants[0].manifest.model
    found = versions()
    return Header(
        run=f"{now:%Y%m%dT%H%M%S}Z-{plan.name}-{model['name'].replace('/', '--')}",
        started=now.isoformat(timespec="seconds"),
        tool=found["tiankong"],
        model=dict(model),
        gold={"name": gold.name, "sha256": gold.digest, "items": len(gold.items)},
        plan=plan.as_json(),
        seed=random.SystemRandom().randrange(2**31) if seed is None else seed,
        machine=fingerprint(),
        versions=found,
        variants={built.manifest.variant: _entry(built) for built in variants},
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


def runs_folder() -> Path:
    """Return the folder of run files."""
    return artifacts() / "runs"


def _begin(header: Header) -> Path:
    path = runs_folder() / f"{header.run}.jsonl"
    create_run(path, header)
    return path


def _unfinished(header: Header, plan: Plan) -> Path | None:
    """Return the newest run that is this one, begun earlier and not yet complete."""
    for path in sorted(runs_folder().glob("*.jsonl"), reverse=True):
        try:
            run = read_run(path)
        except UnusableInputError as error:
            say(f"sweep: passing over an unreadable run ({error})")
            continue
        if _comparable(run.header) == _comparable(header):
            missing = {p.key for p in _points(plan, run.header)} - {c.key for c in run.cells}
            return path if missing else None
    return None


def _comparable(header: Header) -> dict[str, Any]:
    """Return what must agree, in the form a file gives it back."""
    result: dict[str, Any] = json.loads(json.dumps(header.identity()))
    return result


def _shuffled(gold: GoldSet, seed: int) -> list[tuple[str, str]]:
    sentences = [(item.id, item.text) for item in gold.items]
    random.Random(seed).shuffle(sentences)
    return sentences
