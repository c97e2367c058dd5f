"""The reference server with a planted slowdown: it makes a share of all inferences twice.

    python -m tiankong.bench.proof.slowed --variant-dir DIR --port 8080 --extra 0.2

The extra work is real inference, so it uses cores, caches and memory as the real work does.
Everything else is the reference server's: the same start, the same settings and limits.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from threading import Lock

from ...server.batching.cores import open_served
from ...server.launch import run_reference
from ...server.settings import Settings
from ...toolkit.engines.predictor import Best, Engine, Logits, Predictor
from ...toolkit.engines.text import Batch
from ...toolkit.guard import Guard


class SlowedEngine(Engine):
    """An engine that makes a share ``extra`` of its inferences twice (0.2: every fifth)."""

    def __init__(self, inner: Engine, extra: float) -> None:
        self._inner, self._extra = inner, extra
        self.about = inner.about
        self._owed = 0.0
        self._lock = Lock()

    def logits(self, batch: Batch) -> Logits:
        """Return the inner engine's logits, after an extra inference if one is due."""
        for _ in range(self._due()):
            self._inner.logits(batch)
        return self._inner.logits(batch)

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the inner engine's best tokens, after an extra inference if one is due."""
        for _ in range(self._due()):
            self._inner.best(batch, top_k)
        return self._inner.best(batch, top_k)

    def _due(self) -> int:
        with self._lock:
            self._owed += self._extra
            again = int(self._owed)
            self._owed -= again
        return again


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant-dir", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--extra", type=float, required=True)
    given = parser.parse_args()
    settings = replace(Settings(folder=given.variant_dir), port=given.port)

    def open_slowed(settings: Settings) -> Predictor:
        predictor = open_served(settings)
        predictor.engine = SlowedEngine(predictor.engine, given.extra)
        return predictor

    run_reference(settings, open_slowed)


if __name__ == "__main__":
    with Guard("slowed") as guard:
        main()
    sys.exit(guard.code)
