"""The space of serving settings that ``tune`` searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from ...toolkit.engines.kinds import kind_of

MAX_BATCHES = (1, 2, 4, 8, 16)
SHARED = 0  # as number of threads: concurrent batches share all cores


@dataclass(frozen=True, order=True)
class Setup:
    """One point of the space: the server settings that affect speed."""

    streams: int
    threads: int
    max_batch: int
    spin: bool = False

    @classmethod
    def usual(cls, settings: Mapping[str, Any], engine: str) -> Setup:
        """Return the point of a server started without options, from its effective settings."""
        values = {field.name: settings[field.name] for field in fields(cls)}
        threads = values["threads"]
        shares = settings.get("least_threads", threads) < threads
        # On one core both numbers of threads are 1, so they do not show whether cores are shared.
        # But --threads 1 would turn off what shared cores bring: the prepared weights, and skipping
        # the padding.
        if shares or (threads == 1 and kind_of(engine).shares_cores):
            values["threads"] = SHARED
        return cls(**values)

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
    """Return every setting worth measuring for an engine on ``cores`` cores, the usual one too.

    Streams and threads are powers of two, or the number of cores; their product is at least the
    number of cores and at most twice that.  If the engine can let batches share the cores, that is
    a choice as well.  An engine that limits its streams gets no more than fit the cores: more would
    only wait.  ``batches`` is False for a variant whose sentences must not share a batch: the
    server then runs each sentence alone, so only a batch size of 1 makes sense.

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
            if kind.spins and threads > 1:  # a single thread never waits for the others
                yield Setup(streams, threads, batch, spin=True)
    if kind.shares_cores:
        for streams, batch in product(sizes, max_batches):
            yield Setup(streams, SHARED, batch)
