"""Where a request's time goes: a stopwatch that travels with it, in ``request.state.watch``."""

from __future__ import annotations

import time


class Stopwatch:
    """The seconds of a request's stages (:data:`.STAGES`); each begins where the last one ended.

    ``began`` is the request's arrival, by ``time.perf_counter``.
    """

    def __init__(self) -> None:
        self.began = self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @property
    def total(self) -> float:
        """Seconds from the arrival to the end of the last stage."""
        return self._last - self.began

    def header(self) -> bytes:
        """Return what has passed until now as a value of Server-Timing, in milliseconds.

        An answer's has the two long stages too: to format all would take microseconds.
        """
        total = (time.perf_counter() - self.began) * 1000
        if "engine" not in self.seconds:
            return b"total;dur=%.2f" % total
        queue, engine = self.seconds["queue"] * 1000, self.seconds["engine"] * 1000
        return b"total;dur=%.2f, queue;dur=%.2f, engine;dur=%.2f" % (total, queue, engine)

    def lap(self, stage: str, at: float | None = None) -> None:
        """End a stage, now or ``at`` a time by ``time.perf_counter``.

        A stage that ended before it began here took no time: another caller's sentence, which this
        request joined, may have been in the engine already.
        """
        now = time.perf_counter() if at is None else max(at, self._last)
        self.seconds[stage] = now - self._last
        self._last = now
