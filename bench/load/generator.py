"""The load generator: Locust in processes of its own, its raw results read back from a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...toolkit.console import say
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.files import package_path
from ...toolkit.guard import of_child
from ...toolkit.processes import end_with_parent, free_port, stop
from .job import JOB_FILE, RESULT_FILE, Job

LOCUSTFILE = package_path("bench/locustfile.py")
OPENED, CLOSED = "tiankong: window opened", "tiankong: window closed"
TURNED = "tiankong: block ended"
OPEN_LOOP_SECONDS = 5  # an open loop has enough connections for this long without answers
OPEN_LOOP_CONNECTIONS = (32, 1024)
LOCAL = "127.0.0.1"
WORKERS_WAIT_SECONDS = 60


@dataclass(frozen=True)
class Generators:
    """Who makes the load: ``processes`` here, or ``workers`` that connect to ``bind``.

    ``bind`` is HOST:PORT; the workers are ``tiankong worker --master HOST:PORT`` elsewhere.
    """

    processes: int = 1
    workers: int = 0
    bind: str = f"{LOCAL}:5557"

    def arguments(self) -> list[str]:
        """Return Locust's arguments."""
        if self.workers:
            host, port = address(self.bind)
            return ["--master", "--expect-workers", str(self.workers),
                    "--expect-workers-max-wait", str(WORKERS_WAIT_SECONDS),
                    "--master-bind-host", host, "--master-bind-port", str(port)]  # fmt: skip
        if self.processes > 1:
            port = free_port()
            return ["--processes", str(self.processes), "--master-bind-host", LOCAL,
                    "--master-bind-port", str(port), "--master-port", str(port)]  # fmt: skip
        return []


ALONE = Generators()


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; raise UnusableInputError if it is not of that form."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UnusableInputError(f"{text!r} is not HOST:PORT")
    return host, int(port)


@dataclass(frozen=True)
class Samples:
    """Raw results of the measured window: ``latencies_ms`` has one latency for each right answer.

    ``ends_ms`` has the completion times, counted from the start of the window; ``late_ms`` (open
    loop) how long after its intended start each request was sent.  Of ``generators`` processes the
    worst value: ``core_percent`` is CPU time in percent of one core, ``wait_percent`` the share of
    runnable time spent waiting for a core, ``heartbeat_ms`` the 99th percentile of the heartbeat's
    delay.
    """

    seconds: float
    latencies_ms: Sequence[float]
    failures: Mapping[str, int]
    wrong: int
    examples: Sequence[str]
    ends_ms: Sequence[float] = ()
    late_ms: Sequence[float] = ()
    core_percent: float = 0.0
    wait_percent: float = 0.0
    heartbeat_ms: float = 0.0
    generators: int = 1


@dataclass(frozen=True)
class Block:
    """One target's turn: latencies of the right answers in milliseconds, and what went wrong.

    ``seconds`` runs from the first request to the last answer.
    """

    target: int
    seconds: float
    latencies_ms: Sequence[float]
    failures: Mapping[str, int]
    wrong: int
    examples: Sequence[str]


Edge = Callable[[int], None]
"""Called at an edge of a window or block, with the process id of the generator."""


def generate(job: Job, opened: Edge, closed: Edge, by: Generators = ALONE) -> Samples:
    """Run a job with a window; ``opened`` and ``closed`` are called at its edges.

    Raises InvalidMeasurementError if a generator ends without results.
    """
    return Samples(**_run(job, opened, closed, by))


def alternate(job: Job, edge: Edge) -> list[Block]:
    """Run a job of blocks; ``edge`` is called before the first block and after each.

    Raises InvalidMeasurementError if the generator ends without results.
    """
    data = _run(job, edge, lambda _: None, ALONE, edge)
    return [Block(**block) for block in data["blocks"]]


def connections(rate: float) -> int:
    """Return how many requests of an open loop may be in flight at once."""
    least, most = OPEN_LOOP_CONNECTIONS
    return int(min(most, max(least, rate * OPEN_LOOP_SECONDS)))


def work_for(master: str, processes: int) -> None:
    """Generate load for the master at HOST:PORT, job after job, until interrupted.

    Raises UnusableInputError for an unusable address, InvalidMeasurementError if Locust fails.
    """
    host, port = address(master)
    say(f"worker: waiting for jobs from {host}:{port}; Ctrl-C ends it")
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--loglevel", "ERROR"]
    command += ["--worker", "--master-host", host, "--master-port", str(port)]
    command += ["--processes", str(processes)] if processes > 1 else []
    while True:  # each job has its own master; when it ends, Locust ends here too
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
            preexec_fn=end_with_parent,
        )  # fmt: skip
        try:
            code = process.wait()
        finally:
            stop(process)
        if code:
            raise InvalidMeasurementError(f"the load generator ended with exit code {code}")


def _run(
    job: Job, opened: Edge, closed: Edge, by: Generators, turned: Edge = lambda _: None
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="tiankong-load-") as folder:
        here = Path(folder)
        (here / "job").write_text(json.dumps(job.as_json(), ensure_ascii=False), encoding="utf-8")
        with _started(job, by, here) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(OPENED):
                    opened(process.pid)
                elif line.startswith(TURNED):
                    turned(process.pid)
                elif line.startswith(CLOSED):
                    closed(process.pid)
                    process.communicate("\n")
                    break
            process.wait()
        if not (here / "out").exists():
            log = (here / "log").read_text(encoding="utf-8", errors="replace").strip()
            last = " ".join(log.splitlines()[-1:])
            raise of_child(f"the load generator ended early: {last}")
        data: dict[str, Any] = json.loads((here / "out").read_text(encoding="utf-8"))
    if "error" in data:
        raise InvalidMeasurementError(str(data["error"]))
    return data


@contextmanager
def _started(job: Job, by: Generators, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {
        JOB_FILE: str(folder / "job"),
        RESULT_FILE: str(folder / "out"),
        "PYTHONUNBUFFERED": "1",
    }
    users = str(job.users)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless",
               "--host", job.targets[0].url, "-u", users, "-r", users, "--only-summary",
               "--loglevel", "ERROR", *by.arguments()]  # fmt: skip
    with (folder / "log").open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True,
            env=environment, start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip
        try:
            yield process
        finally:
            stop(process)


def generators_from(processes: int, workers: int, bind: str) -> Generators:
    """Return the generators: processes here, or workers elsewhere."""
    if workers and processes > 1:
        raise UnusableInputError("--processes and --workers exclude each other")
    address(bind)
    return Generators(processes, workers, bind)
