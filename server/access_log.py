"""The access log: a JSON object a line, written by a thread of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from queue import Full, Queue
from threading import Thread

ROOM = 10_000  # lines that may wait to be written
PATIENCE = 2.0  # seconds for the last lines at the end

Entry = Mapping[str, object]


class AccessLog:
    """Writes entries to a file descriptor; who does not read them holds up nobody.

    ``write`` says whether there was room.  After an error (say, the reader has gone) nothing more
    is written.
    """

    def __init__(self, descriptor: int, room: int = ROOM) -> None:
        self._descriptor = descriptor
        self._waiting: Queue[Entry | None] = Queue(room)
        # A daemon, writing without Python's buffers: a reader that stands still must not keep the
        # process from ending.
        self._thread = Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def write(self, entry: Entry) -> bool:
        """Have an entry written soon; return False if it had to be dropped."""
        try:
            self._waiting.put_nowait(entry)
        except Full:
            return False
        return True

    def close(self) -> None:
        """Write what waits, as long as somebody reads it."""
        try:
            self._waiting.put(None, timeout=PATIENCE)
        except Full:
            return
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while (entry := self._waiting.get()) is not None:
            line = json.dumps(entry).encode() + b"\n"
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError:
                return
