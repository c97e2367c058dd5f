"""A served variant: the server process started, awaited and stopped."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..server.launch import Stack, command, environment
from ..server.settings import Settings
from ..toolkit.errors import InvalidMeasurementError
from ..toolkit.processes import end_with_parent, free_port, stop

READY_PATHS: dict[Stack, str] = {"reference": "/health/ready", "article": "/health"}
START_LIMIT_SECONDS = 120.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Served:
    """A running server: where, which process, and how long it took to be ready (seconds)."""

    url: str
    pid: int
    start_seconds: float
    settings: Settings


@contextmanager
def serve(stack: Stack, folder: Path) -> Iterator[Served]:
    """Start a server on a free port, wait until it is ready, stop it in the end.

    Raises InvalidMeasurementError with the log's last line if it does not become ready.
    """
    settings = Settings(folder=folder, port=free_port())
    url = f"http://{settings.host}:{settings.port}"
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            command(stack, settings),
            stdout=log,
            stderr=log,
            text=True,
            env=os.environ | environment(stack, settings),
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        try:
            while not _ready(url + READY_PATHS[stack]):
                if process.poll() is not None or time.monotonic() - started > START_LIMIT_SECONDS:
                    log.seek(0)
                    last = log.read().strip().splitlines()[-1:]
                    raise InvalidMeasurementError(
                        f"the {stack} server of {folder.name} did not start: {' '.join(last)}"
                    )
                time.sleep(POLL_SECONDS)
            yield Served(url, process.pid, time.monotonic() - started, settings)
        finally:
            stop(process)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
