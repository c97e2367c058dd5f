"""A served variant: the server process started, awaited and stopped."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from typing import IO, Any
from urllib.parse import urlsplit

import psutil

from ...server.launch import command, environment
from ...server.settings import Settings, Stack
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.guard import of_child
from ...toolkit.machine import allowed_cpus, whole_cores_first
from ...toolkit.processes import end_with_parent, free_port, stop
from ..load.target import Target
from .addresses import may_be_here
from .owner import owner

READY_PATHS: dict[Stack, str] = {
    "reference": "/health/ready",
    "article": "/health",
    "ray": "/health/ready",
}
START_LIMIT_SECONDS = 120.0
POLL_SECONDS = 0.02
GONE_SECONDS = 10.0
ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Served:
    """A running server: where it is, process id (None: unknown), settings (None: not ours).

    ``start_seconds`` is how long it took to become ready (0: it ran already).  ``is_hidden``: it
    may run on this machine as processes that are not known, among the others.
    """

    target: Target
    pid: int | None
    start_seconds: float
    settings: Settings | None
    is_hidden: bool = False

    @property
    def url(self) -> str:
        """Its base URL."""
        return self.target.url


@contextmanager
def serve(
    stack: Stack,
    settings: Settings,
    cores: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Served]:
    """Start a server on a free port, wait until it is ready, stop it at the end.

    ``cores`` pins it to so many allowed CPUs, whole cores before siblings; ``variables`` are added
    to its environment.  Raises InvalidMeasurementError with the log's last line if it does not
    become ready, or if it ended while it was used.
    """
    settings = replace(settings, port=free_port())
    url = f"http://{settings.host}:{settings.port}"
    argv = command(stack, settings)
    environ = environment(stack, settings) | dict(variables or {})
    begun = time.monotonic()
    with started(f"the {stack} server of {settings.folder.name}", argv, environ, cores) as process:
        process.await_ready(url + READY_PATHS[stack])
        yield Served(Target(url), process.pid, time.monotonic() - begun, settings)
        process.require_alive()


@contextmanager
def running(target: Target) -> Iterator[Served]:
    """Yield a server that runs already, and leave it running."""
    pid = owner(target)
    is_hidden = pid is None and may_be_here(urlsplit(target.url).hostname or "")
    yield Served(target, pid, 0.0, None, is_hidden)


def in_force(target: Target, variant: str) -> dict[str, Any]:
    """Return the settings that a reference server reports for a variant.

    Raises InvalidMeasurementError if it does not report them.
    """
    try:
        with target.ask(f"/v2/models/{variant}", timeout=ANSWER_SECONDS) as response:
            settings: dict[str, Any] = json.load(response)["parameters"]
    except (OSError, ValueError, KeyError) as error:
        raise InvalidMeasurementError(
            f"{target.url} does not say its settings: {error!r}"
        ) from None
    return settings


@dataclass(frozen=True)
class Process:
    """A server's process, its name in messages, and its log."""

    name: str
    popen: subprocess.Popen[str]
    log: IO[str]

    @property
    def pid(self) -> int:
        """The process id of the tree's root."""
        return self.popen.pid

    def require_alive(self) -> None:
        """Raise an error with the log's last line if the process has ended (``of_child``)."""
        if (code := self._exit_code()) is not None:
            self.log.seek(0)
            last = " ".join(self.log.read().strip().splitlines()[-1:])
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            raise of_child(f"{self.name} ended ({how}): {last or 'its log is empty'}")

    def _exit_code(self) -> int | None:
        with suppress(psutil.NoSuchProcess):
            # A process killed while its threads run is a zombie for a while before poll() sees it.
            if psutil.Process(self.pid).status() == psutil.STATUS_ZOMBIE:
                return self.popen.wait(GONE_SECONDS)
        return self.popen.poll()

    def await_ready(self, url: str, limit: float = START_LIMIT_SECONDS) -> None:
        """Wait until ``url`` answers 200; raise InvalidMeasurementError if it never does."""
        started = time.monotonic()
        while not is_ready(url):
            self.require_alive()
            if time.monotonic() - started > limit:
                raise InvalidMeasurementError(f"{self.name} was not ready after {limit:.0f} s")
            time.sleep(POLL_SECONDS)


@contextmanager
def started(
    name: str, argv: Sequence[str], environ: Mapping[str, str], cores: int | None = None
) -> Iterator[Process]:
    """Start a process in its own session that ends with us; stop it and its children at the end."""
    cpus = [] if cores is None else whole_cores_first(allowed_cpus())[:cores]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        popen = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            env=os.environ | environ,
            start_new_session=True,
            preexec_fn=partial(_prepare_child, cpus),
        )
        try:
            yield Process(name, popen, log)
        finally:
            stop(popen)


def _prepare_child(cpus: Sequence[int]) -> None:
    end_with_parent()
    if cpus:
        os.sched_setaffinity(0, cpus)


def is_ready(url: str) -> bool:
    """Tell whether a URL answers 200 within five seconds."""
    try:
        with Target(url).ask("", timeout=ANSWER_SECONDS) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False
