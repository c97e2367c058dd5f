"""Engines that share the cores: a call alone has all of them, calls at the same time a part each.

One sentence is fastest with all cores at work on it.  Many are fastest with a core for each: no
thread then waits for another between two operators.  So there are several engines with the same
weights, from one thread to all cores.  The more calls run, the fewer threads a new call gets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from .predictor import About, Best, Engine, Logits
from .text import Batch


class SharingEngine(Engine):
    """Chooses an engine for each call: the one with the most threads that fits the call's share.

    ``engines`` maps numbers of threads to engines and must contain 1.  ``kept`` is the folder of
    their prepared form.  ``unpads`` says that calls at the same time compute no padding.
    """

    def __init__(
        self, engines: Mapping[int, Engine], kept: Path | None = None, *, unpads: bool = False
    ) -> None:
        self._engines = dict(engines)
        self._cores = max(engines)
        self._running = 0
        self._lock = Lock()
        self.about = About(
            callers=engines[1].about.callers,
            prepares=any(engine.about.prepares for engine in engines.values()),
            widths=sorted(engines),
            kept=kept,
            unpads=unpads,
            parts=[engines[width] for width in sorted(engines)],
        )

    def logits(self, batch: Batch) -> Logits:
        """Return float32 logits of shape (masks, vocabulary)."""
        with self._share() as engine:
            return engine.logits(batch)

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the best tokens' ids and probabilities, each of shape (masks, top_k)."""
        with self._share() as engine:
            return engine.best(batch, top_k)

    @contextmanager
    def _share(self) -> Iterator[Engine]:
        with self._lock:
            self._running += 1
            share = max(1, self._cores // self._running)
        try:
            yield self._engines[max(width for width in self._engines if width <= share)]
        finally:
            with self._lock:
                self._running -= 1


def widths(cores: int, step: int = 2) -> list[int]:
    """Return the numbers of threads for which to open an engine on so many cores.

    They grow by the factor ``step``.  A call gets the largest that fits its share of the cores, so
    it uses more than half of its share with a ``step`` of 2, more than a quarter with 4.

    >>> widths(2), widths(6), widths(16), widths(16, step=4)
    ([1, 2], [1, 2, 4, 6], [1, 2, 4, 8, 16], [1, 4, 16])
    """
    powers = [step**n for n in range(cores.bit_length()) if step**n <= cores]
    return sorted({*powers, cores})
