"""Ends the process cleanly at a signal while there is no server yet that could drain."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ended_at_once(tidy: Callable[[], None] | None = None) -> Iterator[None]:
    """End the process at SIGTERM or SIGINT while the block runs, with exit code 0.

    Without this, signals would not end the first process of a container (the kernel discards those
    that it has no handler for), and any other process would seem to have failed.  ``tidy`` is
    called before the end.  Only the main thread can handle signals: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(signum: int, frame: FrameType | None) -> None:
        if tidy:
            tidy()
        # Not SystemExit: Python would wait for its threads, and one that opens a model cannot be
        # interrupted for many seconds.  Nothing has been accepted, so nothing is lost.
        os._exit(0)

    before = [(number, signal.signal(number, end)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
