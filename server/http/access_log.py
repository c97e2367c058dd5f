"""The access log: a JSON object a line, written by a thread of its own."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from threading import Event, Thread

ROOM = 10_000  # lines that may wait to be written
EVERY = 0.1  # seconds: the thread wakes so often, however many requests there are
PATIENCE = 2.0  # seconds for the last lines at the end

Entry = Mapping[str, object]


class AccessLog:
    """Writes entries to a file descriptor; who does not read them holds up nobody.

    ``write`` says whether there was room.  Once the reader has gone nothing more is written; after
    another error (say, the disk is full) the next lines are tried again.
    """

    def __init__(self, descriptor: int, room: int = ROOM) -> None:
        self._descriptor = descriptor
        self._room = room
        self._waiting: deque[Entry] = deque()
        self._closing = Event()
        # A daemon, writing without Python's buffers: a reader that stands still must not keep the
        # process from ending.
        self._thread = Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, entry: Entry) -> bool:
        """Have an entry written soon; return False if it had to be dropped."""
        if len(self._waiting) >= self._room:
            return False
        self._waiting.append(entry)
        return True

    def close(self) -> None:
        """Write what waits, as long as somebody reads it."""
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
            line = json.dumps(self._waiting.popleft()).encode() + b"\n"
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except BrokenPipeError:
                raise
            except OSError:
                return
