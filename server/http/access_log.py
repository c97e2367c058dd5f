"""The access log: one JSON object per line, written by its own thread."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from threading import Event, Thread

ROOM = 10_000  # the most lines that may wait to be written
EVERY = 0.1  # seconds between two writes, however many requests there are
TOGETHER = 4096  # bytes of one write, PIPE_BUF: on a pipe that replicas share it stays whole
PATIENCE = 2.0  # seconds that close() waits for the last lines to be written

Entry = Mapping[str, object]


class AccessLog:
    """Writes entries to a file descriptor; a reader that stops reading delays no request.

    Once the reader has closed its end, nothing more is written.  After any other error (for example
    a full disk) the lines of that write, at most ``TOGETHER`` bytes or one line, are lost and the
    next ones are tried.
    """

    def __init__(self, descriptor: int, room: int = ROOM) -> None:
        self._descriptor = descriptor
        self._room = room
        self._waiting: deque[Entry] = deque()
        self._closing = Event()
        # A daemon thread that writes without Python's buffers: a reader that has stopped reading
        # must not keep the process from exiting.
        self._thread = Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, entry: Entry) -> bool:
        """Queue an entry for writing; return False if the queue is full and it is dropped."""
        if len(self._waiting) >= self._room:
            return False
        self._waiting.append(entry)
        return True

    def close(self) -> None:
        """Write the queued entries, waiting at most ``PATIENCE`` seconds for the reader."""
        self._closing.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            while not self._closing.wait(EVERY):
                self._write_waiting()
            self._write_waiting()
        except BrokenPipeError:
            self._room = 0

    def _write_waiting(self) -> None:
        while self._waiting:
            lines = self._next_lines()
            try:
                while lines:
                    lines = lines[os.write(self._descriptor, lines) :]
            except BrokenPipeError:
                raise
            except OSError:
                if not self._closing.is_set():
                    return  # the next ones are tried next time

    def _next_lines(self) -> bytes:
        """Return the lines of the next write (one for each line would hold up other threads)."""
        lines = b""
        while self._waiting:
            line = json.dumps(self._waiting[0]).encode() + b"\n"
            if lines and len(lines) + len(line) > TOGETHER:
                break
            self._waiting.popleft()
            lines += line
        return lines
