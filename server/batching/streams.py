"""The number of streams: measured at the start, unless the settings give it.

Streams compete for sentences: more streams mean smaller batches.  Whether two half-size batches at
the same time or full batches one after the other are faster depends on engine, precision and cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Thread

CROWD = 16  # sentences in the server at the same time, waiting or in a batch
SECONDS = 0.25
GAIN = 1.10  # how much faster another number must be: a short measurement is not exact

Infer = Callable[[int], object]
"""Infers a batch of this many sentences."""


def choose(
    infer: Infer, usual: int, largest: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return the number of streams, at most ``usual``, that answers a crowd fastest.

    It is ``usual`` unless another number is faster by the factor ``GAIN``.  A number is measured
    with one batch per stream, side by side.  The batches and the queue share the crowd evenly, but
    a batch has at most ``largest`` sentences.  The numbers take turns for ``SECONDS`` and are
    compared within each turn.  ``clock`` returns seconds.
    """
    candidates = list(_candidates(usual))
    if len(candidates) == 1:
        return usual
    from statistics import median  # here: most starts use a stored number and measure nothing

    turns: list[dict[int, float]] = []
    end = clock() + SECONDS
    while not turns or clock() < end:
        turns.append({streams: _rate(infer, streams, largest, clock) for streams in candidates})
    gains = {
        streams: median(turn[streams] / turn[usual] for turn in turns) for streams in candidates
    }
    best = max(gains, key=gains.__getitem__)
    return best if gains[best] >= GAIN else usual


def _candidates(usual: int) -> Iterator[int]:
    streams = 1
    while streams < usual:
        yield streams
        streams *= 2
    yield usual


def _rate(infer: Infer, streams: int, largest: int, clock: Callable[[], float]) -> float:
    """Return the throughput in sentences per second."""
    batch = max(1, min(largest, CROWD // (streams + 1)))
    others = [Thread(target=infer, args=(batch,)) for _ in range(streams - 1)]
    began = clock()
    for thread in others:
        thread.start()
    infer(batch)
    for thread in others:
        thread.join()
    return streams * batch / max(clock() - began, 1e-9)
