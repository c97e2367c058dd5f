"""What a server is told at its start, read once and never changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast, get_args

from ..toolkit.errors import UnusableInputError
from ..toolkit.machine import usable_cores

Stack = Literal["reference", "article", "ray"]
DEADLINE, BODY_LIMIT = "TIANKONG_DEADLINE", "TIANKONG_BODY_LIMIT"  # for retries.py

KIBIBYTE = 1024
AT_LEAST_ONE = ("max_batch", "body_limit", "batch_limit", "connections")


@dataclass(frozen=True)
class Settings:
    """How one variant is served; raises UnusableInputError for a value that makes no sense.

    Args:
        folder: the variant's folder.
        host: the address to listen on.
        port: the TCP port (0: any free one).
        streams: batches inferred at the same time; 0: measured at the start (see streams.py).
        threads: threads for one batch; 0: the usable cores, which batches share.
        queue_limit: sentences that may wait for a stream.
        deadline: seconds from a request's arrival to its answer.
        body_limit: bytes of a request's body.
        batch_limit: texts in one batch request.
        max_batch: the most sentences in one inference; 1 asks each alone.
        spin: whether ONNX Runtime's threads wait by running in circles: a little faster where
            nothing else needs the cores.
        cache: answers to remember for who asks the same again; 0: none.
        access_log: whether requests are logged on standard output.
        head_deadline: seconds from the first byte of a request's head to its last.
        connections: the most at the same time; fewer where the process may not have so many files.
        api_key_file: keys of which a client has to bring one; None: anybody may ask.
        replicas: processes behind Ray Serve, the fewest if ``max_replicas`` is more; 0: one process
            without Ray.
        max_replicas: the most, as the load asks for them; 0: as many as ``replicas``, always.

    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080
    streams: int = 0
    threads: int = 0
    queue_limit: int = 256
    deadline: float = 30.0
    body_limit: int = 64 * KIBIBYTE
    batch_limit: int = 256
    max_batch: int = 8
    spin: bool = False
    cache: int = 0
    access_log: bool = True
    head_deadline: float = 10.0
    connections: int = 4096
    api_key_file: Path | None = None
    replicas: int = 0
    max_replicas: int = 0

    def __post_init__(self) -> None:
        for name in AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise UnusableInputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("streams", "threads", "queue_limit", "cache", "replicas", "max_replicas"):
            if getattr(self, name) < 0:
                raise UnusableInputError(f"{name} must not be negative: {getattr(self, name)}")
        for name in ("deadline", "head_deadline"):
            if not 0 < getattr(self, name) < math.inf:
                raise UnusableInputError(
                    f"{name} must be a number of seconds: {getattr(self, name)}"
                )
        if not 0 <= self.port <= 65535:
            raise UnusableInputError(f"port must lie in 0..65535, not {self.port}")
        if 0 < self.max_replicas < max(1, self.replicas):
            raise UnusableInputError(
                f"max_replicas ({self.max_replicas}) must not be less than replicas"
                f" ({self.replicas}), of which there is at least one"
            )

    @property
    def most_replicas(self) -> int:
        """Processes there may be at the same time."""
        return max(1, self.replicas, self.max_replicas)

    def changed(self) -> set[str]:
        """Return the names of what is not as it would be by itself, the folder apart."""
        usual = Settings(self.folder)
        return {
            entry.name
            for entry in fields(self)
            if getattr(self, entry.name) != getattr(usual, entry.name)
        }


def cores_each(replicas: int) -> int:
    """Return how many of the usable cores are one replica's share: at least one."""
    return max(1, usable_cores() // max(1, replicas))


def known_stack(name: str) -> Stack:
    """Return the stack of this name; raise UnusableInputError if there is none."""
    for stack in get_args(Stack):
        if name == stack:
            return cast(Stack, stack)
    raise UnusableInputError(f"unknown stack {name!r}; known: {', '.join(get_args(Stack))}")
