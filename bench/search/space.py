"""The space of serving settings that ``tune`` looks through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from ...toolkit.engines.kinds import kind_of

MAX_BATCHES = (1, 2, 4, 8, 16)
SHARED = 0  # threads: batches share the cores


@dataclass(frozen=True, order=True)
class Setup:
    """One point of the space: settings of the server that may make it faster or slower."""

    streams: int
    threads: int
    max_batch: int
    spin: bool = False

    @classmethod
    def usual(cls, settings: Mapping[str, Any], engine: str) -> Setup:
        """Return the point of a server that was started as it comes, by its settings in force."""
        found = {field.name: settings[field.name] for field in fields(cls)}
        threads = found["threads"]
        shares = settings.get("least_threads", threads) < threads
        # On one core both are 1, yet to name it would turn off what else comes with shared cores:
        # the prepared form, and that no padding is computed.
        if shares or (threads == 1 and kind_of(engine).shares_cores):
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


def space(engine: str, cores: int, *, batches: bool = True) -> list[Setup]:
    """Return every choice worth a look for an engine on so many cores, the usual one among them.

    Streams and threads are powers of two, or all cores; together they fill the cores and at most
    twice as many.  Batches may share the cores instead, where the engine can do that.  An engine
    that limits its streams has no more than fit the cores: more would only wait.  ``batches`` says
    whether sentences may share one: where they may not, the server asks each alone, whatever it is
    told.

    >>> [(c.streams, c.threads) for c in space("openvino", 2, batches=False)]
    [(1, 2), (2, 1), (1, 0), (2, 0)]
    """
    return list(_choices(engine, cores, MAX_BATCHES if batches else (1,)))


def _choices(engine: str, cores: int, max_batches: Sequence[int]) -> Iterator[Setup]:
    kind = kind_of(engine)
    most = cores if kind.limits_streams else 2 * cores
    sizes = sorted({cores, *(2**n for n in range(most.bit_length()) if 2**n <= most)})
    for streams, threads, batch in product(sizes, sizes, max_batches):
        if threads <= cores <= streams * threads <= most:
            yield Setup(streams, threads, batch)
            if kind.spins and threads > 1:  # the caller's own thread never waits
                yield Setup(streams, threads, batch, spin=True)
    if kind.shares_cores:
        for streams, batch in product(sizes, max_batches):
            yield Setup(streams, SHARED, batch)
