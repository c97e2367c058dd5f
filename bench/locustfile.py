"""Load for a fill-mask server: the gold set's sentences over ``POST /predict``, no think time.

Usable alone: ``locust -f bench/locustfile.py --host http://127.0.0.1:8080``.  The sweep sets
``TIANKONG_LOAD`` to a job file; then answers are checked, raw latencies of one window after a
warm-up are written down, and the window's edges are announced on standard output.
"""

import json
import os
import sys
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, constant, events, task

from tiankong.bench.generator import CLOSED, OPENED
from tiankong.toolkit.answers import same_answer
from tiankong.toolkit.gold import read_gold

SHOWN_EXAMPLES = 3


class WrongAnswerError(Exception):
    """The server answered, but not with the variant's own unloaded top-5."""


class Job:
    """What to send, what to expect, and how long to measure (all from the job file)."""

    def __init__(self) -> None:
        path = os.environ.get("TIANKONG_LOAD")
        data: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
        self.measured = bool(data)
        self.sentences: list[str] = data.get("sentences") or read_gold().texts()
        self.expected: list[list[list[Any]]] = data.get("expected", [])
        self.warmup: float = data.get("warmup_seconds", 0.0)
        self.seconds: float = data.get("seconds", 0.0)
        self.out: str = data.get("out", "")


class Window:
    """Raw results of the requests that finish while the window is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()
        self.wrong = 0
        self.examples: list[str] = []

    def add(self, latency_ms: float, error: BaseException | None) -> None:
        """Count one finished request."""
        if not self.is_open:
            return
        if error is None:
            self.latencies.append(round(latency_ms, 3))
            return
        if isinstance(error, WrongAnswerError):
            self.wrong += 1
        else:
            self.failures[_reason(error)] += 1
        if len(self.examples) < SHOWN_EXAMPLES:
            self.examples.append(str(error)[:300])


def _reason(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None) or getattr(
        error, "status_code", None
    )
    return f"HTTP {status}" if status else type(error).__name__


job = Job()
window = Window()
turns = count()


class Reader(FastHttpUser):
    """Sends one sentence after the other; all users share one round through the sentences."""

    wait_time = constant(0)
    connection_timeout = 30.0
    network_timeout = 60.0

    @task
    def predict(self) -> None:
        """Ask one sentence and check the answer."""
        turn = next(turns) % len(job.sentences)
        body = {"text": job.sentences[turn]}
        with self.client.post("/predict", json=body, catch_response=True) as response:
            if response.status_code == 200 and job.expected:
                problem = _problem(response.text, job.expected[turn])
                if problem:
                    response.failure(WrongAnswerError(f"{body['text']}: {problem}"))


def _problem(body: str | None, expected: list[list[Any]]) -> str:
    """Return what is wrong with an answer, or nothing."""
    try:
        results = json.loads(body or "")["results"]
        given = [(entry["token"], entry["score"]) for entry in results]
    except (ValueError, KeyError, TypeError) as error:
        return f"not an answer ({error!r})"
    wanted = [(token, score) for token, score in expected]
    if len(given) != 5 or not same_answer(wanted, given):
        return f"{''.join(token for token, _ in given)}, not {''.join(t for t, _ in wanted[:5])}"
    return ""


@events.request.add_listener
def record(response_time: float, exception: BaseException | None, **_: Any) -> None:
    """Take the raw time of every request (Locust's own statistics are rounded)."""
    window.add(response_time, exception)


@events.spawning_complete.add_listener
def start_clock(**_: Any) -> None:
    """Begin the warm-up once all users are there."""
    if job.measured and not window.is_open:
        gevent.spawn(_measure)


def _measure() -> None:
    gevent.sleep(job.warmup)
    _announce(OPENED)
    window.is_open = True
    started = time.perf_counter()
    gevent.sleep(job.seconds)
    window.is_open = False
    seconds = time.perf_counter() - started
    result = {
        "seconds": seconds,
        "latencies_ms": window.latencies,
        "failures": dict(window.failures),
        "wrong": window.wrong,
        "examples": window.examples,
    }
    Path(job.out).write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    _announce(CLOSED)
    sys.stdin.readline()  # stands still (no more load) until our CPU time has been read
    os._exit(0)  # the users would otherwise be waited for; everything needed is written


def _announce(line: str) -> None:
    print(line, flush=True)
