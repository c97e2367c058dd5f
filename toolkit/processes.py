"""Child processes that end when we end, and ports they can listen on."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 10.0


def started_ticks(pid: int | str = "self") -> int | None:
    """Return when a process started, in clock ticks since the kernel's start (None: not known).

    With the process id it names one process for good: ids are used again, and differ between
    containers.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            after_name = stream.read().rpartition(b")")[2].split()
        return int(after_name[19])  # field 22 of proc_pid_stat(5); two stand before the name's end
    except (OSError, IndexError, ValueError):
        return None


def end_with_parent() -> None:
    """Ask the kernel to end this process when its parent dies, even by SIGKILL (Linux only).

    For ``preexec_fn``: an orphaned server would use the machine during later measurements.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that leads its own session, and its children: SIGTERM, then SIGKILL."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on."""
    import socket  # here: the help of the command line needs none

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Block SIGINT and SIGTERM while the block runs; they are delivered when it ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt_on_terminate() -> None:
    """Make SIGTERM raise KeyboardInterrupt as Ctrl-C does, so that cleanup code runs."""

    def handler(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)
