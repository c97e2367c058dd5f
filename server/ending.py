"""An end before there is a server that could drain: at once, and well."""

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

    Without this, nothing would end the first process of a container (the kernel ignores signals
    that it does not handle), and any other would seem to have failed.  ``tidy`` is called before
    the end.  Outside the main thread, which alone hears signals, nothing is changed.
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
