"""The space of serving settings that ``tune`` looks through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

MAX_BATCHES = (1, 2, 4, 8, 16)
SPINNING = "onnxruntime"  # the engine whose threads can be told to spin
OPENVINO = "openvino"
SHARING = (SPINNING, OPENVINO)
SHARED = 0  # threads: batches share the cores


@dataclass(frozen=True, order=True)
class Choice:
    """One point of the space: settings of the server that may make it faster or slower."""

    streams: int
    threads: int
    max_batch: int
    spin: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Choice:
        """Return the point that a server's settings in force are at."""
        found = {field.name: settings[field.name] for field in fields(cls)}
        if settings.get("least_threads", found["threads"]) < found["threads"]:
            found["threads"] = SHARED
        return cls(**found)

    def as_json(self) -> dict[str, Any]:
        """Return the settings by name."""
        return asdict(self)

    @property
    def options(self) -> str:
        """The settings as options of ``tiankong serve``."""
        words = f"--streams {self.streams} --threads {self.threads} --max-batch {self.max_batch}"
        return words + (" --spin" if self.spin else "")

    def __str__(self) -> str:
        """Return the settings in a few words."""
        threads = "shared cores" if self.threads == SHARED else f"{self.threads} threads"
        words = f"{self.streams} streams x {threads}, batches of {self.max_batch}"
        return words + (", spinning" if self.spin else "")


def space(engine: str, cores: int) -> list[Choice]:
    """Return every choice worth a look for an engine on so many cores, the usual one among them.

    Streams and threads are powers of two, or all cores; together they fill the cores and at most
    twice as many.  Batches may share the cores instead, where the engine can do that.  OpenVINO has
    no more streams than fit the cores: more would only wait.

    >>> [(c.streams, c.threads) for c in space("openvino", 2) if c.max_batch == 1]
    [(1, 2), (2, 1), (2, 0)]
    """
    return list(_choices(engine, cores))


def _choices(engine: str, cores: int) -> Iterator[Choice]:
    most = cores if engine == OPENVINO else 2 * cores
    sizes = sorted({cores, *(2**n for n in range(most.bit_length()) if 2**n <= most)})
    spins = (False, True) if engine == SPINNING else (False,)
    for streams, threads, batch, spin in product(sizes, sizes, MAX_BATCHES, spins):
        if threads <= cores <= streams * threads <= most:
            yield Choice(streams, threads, batch, spin)
    if engine in SHARING and cores > 1:
        for streams, batch in product((size for size in sizes if size > 1), MAX_BATCHES):
            yield Choice(streams, SHARED, batch)
