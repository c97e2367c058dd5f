"""Proof of what FastAPI would cost: our app (Starlette) against the same route in FastAPI.

    python -m tiankong.bench.proof.framework --variant onnx-int8

Both apps are called in this process, in turns, without sockets, with an engine that answers at
once; the CPU time of a request is measured.  Then the served variant is measured at 16 users, to
see what share of a request's CPU time the difference is.  Import times are measured in turns as
well, each in a new process.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fastapi import FastAPI
from starlette.applications import Starlette

from ...server.routes import app as routes
from ...server.settings import Settings
from ...toolkit.building.folders import Built
from ...toolkit.building.store import Store
from ...toolkit.engines.predictor import Best, Engine, Logits, Predictor
from ...toolkit.engines.text import Batch, TextEncoder
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.gate.answers import load
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import GoldSet, read_gold
from ...toolkit.machine import usable_cores
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import invalidating
from ..load.sentences import gold_questions
from ..serving.served import serve
from ..sweep.measure import Window, undisturbed
from .program import command_line, ended_well

TURNS, REQUESTS, IMPORTS = 30, 500, 9
USERS, SECONDS, WARMUP_SECONDS = 16, 8.0, 1.5
BODY = json.dumps({"text": "床前明月光,疑是地[MASK]霜。"}, ensure_ascii=False).encode()
SCOPE: dict[str, Any] = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/predict",
    "raw_path": b"/predict",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 2),
}
App = Callable[[Any, Any, Any], Awaitable[None]]


class Instant(Engine):
    """An engine that returns the same answer to everything, at once."""

    def logits(self, batch: Batch) -> Logits:
        """Return logits that nobody uses: ``best`` has the answer."""
        raise NotImplementedError

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the first ids of the vocabulary."""
        masks = len(batch.rows)
        ids = np.tile(np.arange(top_k, dtype=np.int64), (masks, 1))
        return ids, np.full((masks, top_k), 1 / top_k, dtype=np.float32)


def in_fastapi(app: Starlette) -> FastAPI:
    """Return a FastAPI app with the same state, handlers, middleware and the measured route."""
    fast = FastAPI(
        exception_handlers=dict(app.exception_handlers), middleware=list(app.user_middleware)
    )
    fast.post("/predict")(routes.predict)
    fast.state = app.state
    return fast


async def _ask(app: App) -> int:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(dict(SCOPE), receive, send)
    return status


async def _turn(app: App) -> float:
    """Return the CPU time of a request, in seconds."""
    began = time.process_time()
    for _ in range(REQUESTS):
        if await _ask(app) != 200:
            raise RuntimeError("the app refused the request")
    return (time.process_time() - began) / REQUESTS


async def _turns(apps: list[App]) -> list[list[float]]:
    for app in apps:
        await _turn(app)
    seconds: list[list[float]] = [[] for _ in apps]
    for turn in range(TURNS):
        order = range(len(apps)) if turn % 2 else reversed(range(len(apps)))
        for index in order:
            seconds[index].append(await _turn(apps[index]))
    return seconds


def difference(folder: Path) -> tuple[float, float]:
    """Return the CPU time of a request (seconds), and how many seconds FastAPI adds."""
    predictor = Predictor("instant", TextEncoder.from_folder(folder), Instant())
    app = routes.create_app(predictor, Settings(folder, streams=1, access_log=False))
    service = app.state.service
    try:
        plain, fast = asyncio.run(_turns([app, in_fastapi(app)]))
    finally:
        service.close()
    return median(plain), median(f - p for f, p in zip(fast, plain, strict=True))


def imports() -> float:
    """Return how many seconds longer importing FastAPI takes than importing Starlette."""
    return median(_import("fastapi") - _import("starlette.applications") for _ in range(IMPORTS))


def _import(module: str) -> float:
    program = (
        f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return float(run.stdout)


def throughput(built: Built, gold: GoldSet) -> float:
    """Return requests per second of the served variant at 16 users.

    Raises InvalidMeasurementError if the measurement is invalid.
    """
    variant = built.manifest.variant
    questions = gold_questions(gold, load(variant, built.manifest.digest, gold), seed=0)
    with serve("reference", Settings(folder=built.folder)) as server:
        point = Point(variant, REFERENCE_STACK, Load(USERS))
        cell = undisturbed(point, server, questions, Window(SECONDS, WARMUP_SECONDS))
    if invalid := [warn.code for warn in invalidating(cell)]:
        raise InvalidMeasurementError(f"{variant} was measured invalidly: {', '.join(invalid)}")
    return cell.qps


def main() -> None:
    """Measure, and print the result in three lines."""
    parser = command_line("framework", __doc__)
    parser.add_argument("--variant", default="onnx-int8")
    given = parser.parse_args()
    with ended_well("framework"):
        gold = read_gold()
        (built,) = ensure(Store(given.model), [given.variant], gold)
        whole, more = difference(built.folder)
        rate = throughput(built, gold)
    cores = usable_cores()
    print(f"a request through the app, without the engine: {whole * 1e6:.0f} us of processor time")
    print(
        f"with FastAPI: {more * 1e6:.0f} us more, {more * rate / cores:.2%} of what {cores} cores"
        f" give {given.variant} at {USERS} users ({rate:.1f} requests a second)"
    )
    print(f"importing it: {imports():.2f} s more than Starlette alone")


if __name__ == "__main__":
    main()
