"""Run files as large as a measurement may make them, with latencies as a server gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from cells import sealed

from tiankong.toolkit.runs.packing import pack
from tiankong.toolkit.runs.run_file import Header

VARIANTS = 16
SERVERS = ("article", "reference", "ray", "target")
LEVELS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128)
REPEATS = 5
PACES = 8  # so many series differ in speed
SECONDS = 8.0


def large_run(
    path: Path,
    header: Header,
    variants: int = VARIANTS,
    servers: Sequence[str] = SERVERS,
    levels: Sequence[int] = LEVELS,
    repeats: int = REPEATS,
    answers: int = 400,
) -> Path:
    """Write a run file with a cell for each variant, server, level and repeat; return its path.

    A closed loop: latencies are lognormal, in order of completion, and obey Little's law; some
    repeats are disturbed, so that every kind of row and warning is there.
    """
    random = np.random.default_rng(7)
    measured: dict[float, list[dict[str, Any]]] = {}  # packing takes time: of several series one
    names = [*header.variants][:variants]
    entry = dict(header.variants[names[0]])
    names += [f"variant-{number:02}" for number in range(len(names), variants)]
    data = asdict(header) | {"variants": {name: header.variants.get(name, entry) for name in names}}
    lines: list[dict[str, Any]] = [{"kind": "run", **data}]
    for place, (variant, server) in enumerate(product(names, servers)):
        rate = answers / SECONDS * (1 + place % PACES / PACES)
        if rate not in measured:
            measured[rate] = [*_cells(random, rate, levels, repeats)]
        named = {"kind": "cell", "variant": variant, "stack": server}
        lines += ({**named, **cell} for cell in measured[rate])
    path.write_text(sealed(lines), encoding="utf-8")
    return path


def _cells(
    random: np.random.Generator, rate: float, levels: Sequence[int], repeats: int
) -> Iterator[dict[str, Any]]:
    for users, repeat in product(levels, range(1, repeats + 1)):
        qps = rate * users / (users + 1) * random.normal(1.0, 0.01)
        count = int(qps * SECONDS)
        latencies = random.lognormal(0.0, 0.25, count)
        latencies *= users * SECONDS * 1000 / latencies.sum()
        ends = (np.arange(count) + random.uniform(0.1, 0.9, count)) * SECONDS * 1000 / count
        yield {
            "users": users,
            "seconds": SECONDS,
            "latencies_ms": pack(latencies.tolist()),
            "started": "2026-01-01T00:00:05+00:00",
            "repeat": repeat,
            "ends_ms": pack(ends.tolist()),
            "server_cpu_percent": 80.0,
            "generator_cpu_percent": 6.0,
            "other_cpu_percent": 7.0 if random.random() < 0.02 else 1.0,
            "resident_bytes": 320 * 1024**2,
            "settings": {"max_batch": 8, "streams": 1, "threads": 2},
        }
