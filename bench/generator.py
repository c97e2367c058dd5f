"""The load generator: Locust in a process of its own, its raw results read back from a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..toolkit.answers import Ranking
from ..toolkit.errors import InvalidMeasurementError
from ..toolkit.processes import end_with_parent, stop

LOCUSTFILE = Path(__file__).parent / "locustfile.py"
OPENED, CLOSED = "tiankong: window opened", "tiankong: window closed"


@dataclass(frozen=True)
class Load:
    """What one generator sends: sentences in turn, from so many users, for so long.

    ``expected`` holds the right ranking of each sentence; empty means answers are not checked.
    """

    url: str
    users: int
    seconds: float
    warmup_seconds: float
    sentences: Sequence[str]
    expected: Sequence[Ranking]


@dataclass(frozen=True)
class Samples:
    """Raw results of the measured window (latencies of right answers, in milliseconds)."""

    seconds: float
    latencies_ms: Sequence[float]
    failures: Mapping[str, int]
    wrong: int
    examples: Sequence[str]


def generate(load: Load, opened: Callable[[int], None], closed: Callable[[int], None]) -> Samples:
    """Run the generator; ``opened`` and ``closed`` get its process id at the window's edges.

    Raises InvalidMeasurementError if it ends without results.
    """
    with tempfile.TemporaryDirectory(prefix="tiankong-load-") as folder:
        out = Path(folder) / "samples.json"
        job = {
            "sentences": list(load.sentences),
            "expected": [list(ranking) for ranking in load.expected],
            "warmup_seconds": load.warmup_seconds,
            "seconds": load.seconds,
            "out": str(out),
        }
        job_file = Path(folder) / "job.json"
        job_file.write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
        log = Path(folder) / "log"
        _run(_command(load), job_file, log, opened, closed)
        if not out.exists():
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise InvalidMeasurementError(f"the load generator ended early: {' '.join(tail)}")
        data: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return Samples(**data)


def _command(load: Load) -> list[str]:
    users = str(load.users)
    return [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", load.url,
            "-u", users, "-r", users, "--only-summary", "--loglevel", "ERROR"]  # fmt: skip


def _run(
    command: list[str],
    job_file: Path,
    log: Path,
    opened: Callable[[int], None],
    closed: Callable[[int], None],
) -> None:
    environment = os.environ | {"TIANKONG_LOAD": str(job_file), "PYTHONUNBUFFERED": "1"}
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True,
            env=environment, start_new_session=True, preexec_fn=end_with_parent,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(OPENED):
                    opened(process.pid)
                elif line.startswith(CLOSED):
                    closed(process.pid)
                    process.communicate("\n")
                    break
            process.wait()
        finally:
            stop(process)
