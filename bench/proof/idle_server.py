"""The reference server with an engine that computes nothing: what is left is the server's own work.

    PYTHONPATH=FOLDER python bench/proof/idle_server.py VARIANT_DIR --delay 0.004 --port 8080

A program of its own, run by its path: the package that it serves with is the one in ``FOLDER``,
which may be another revision of this project.  So it uses only what old revisions have too.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from tiankong.server.launch import run_reference
from tiankong.server.settings import Settings
from tiankong.toolkit.engines.predictor import Best, Engine, Logits, Predictor
from tiankong.toolkit.engines.text import Batch, TextEncoder


class IdleEngine(Engine):
    """An engine that waits for ``delay`` seconds and gives the same answer to everything."""

    def __init__(self, delay: float) -> None:
        self._delay = delay

    def logits(self, batch: Batch) -> Logits:
        """Return nothing: ``best`` has the answer."""
        raise NotImplementedError

    def best(self, batch: Batch, top_k: int) -> Best:
        """Return the first ids of the vocabulary; as with a real engine others run meanwhile."""
        time.sleep(self._delay)
        ids = np.tile(np.arange(200, 200 + top_k, dtype=np.int64), (len(batch.rows), 1))
        return ids, np.full(ids.shape, 0.0123456789, dtype=np.float32)


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a variant's folder: its tokenizer is used")
    parser.add_argument("--delay", type=float, default=0.004)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=2)
    given = parser.parse_args()
    predictor = Predictor("idle", TextEncoder.from_folder(given.folder), IdleEngine(given.delay))
    settings = Settings(given.folder, port=given.port, streams=given.streams)
    run_reference(settings, lambda _: predictor)


if __name__ == "__main__":
    main()
