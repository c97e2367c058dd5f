"""How many streams: measured at the start, where nobody has said it.

Streams compete: each keeps its sentences from the others' batches.  Whether two half-size batches
at the same time or one whole one after the other is faster depends on engine, precision and cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Thread

CROWD = 16  # sentences that are in the server together, waiting or at work
SECONDS = 0.25
GAIN = 1.10  # what other streams than the usual have to bring: a short look is not exact

Infer = Callable[[int], object]
"""Infers a batch of so many sentences."""


def choose(
    infer: Infer, usual: int, largest: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Return the number of streams, at most ``usual``, that answers a crowd fastest.

    It is the usual number unless another is faster by ``GAIN``.  Each candidate runs as many
    batches side by side as it has streams, of the size that the crowd then leaves for each (at most
    ``largest``); candidates take turns for ``SECONDS``, and are compared within turns.  ``clock``
    gives seconds.
    """
    candidates = list(_candidates(usual))
    if len(candidates) == 1:
        return usual
    from statistics import median  # here: most starts remember what was chosen

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
    """Return sentences a second."""
    batch = max(1, min(largest, CROWD // (streams + 1)))
    others = [Thread(target=infer, args=(batch,)) for _ in range(streams - 1)]
    began = clock()
    for thread in others:
        thread.start()
    infer(batch)
    for thread in others:
        thread.join()
    return streams * batch / max(clock() - began, 1e-9)
