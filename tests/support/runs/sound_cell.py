"""A cell with nothing to doubt, and changes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cells import changed

from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.validity import (
    Warn,
    doubts,
)

# 1 user, 10 ms each, 1000 answers in 10 seconds: Little's law holds, nothing to doubt.
POINT = Point("onnx-int8", "reference", Load(1))
CELL = Cell(POINT, 10.0, (10.0,) * 1000, "2026-01-01T00:00:05+00:00")

Change = dict[str, Any]


def answers(count: int, latency_ms: float = 10.0) -> Change:
    """Return so many equal latencies."""
    return {"latencies_ms": (latency_ms,) * count}


def thirds(counts: tuple[int, int, int], latencies: tuple[float, float, float]) -> Change:
    """Return a window of 9 s with so many answers in each third, all of one latency."""
    ends = [
        np.linspace(3000 * number + 1, 3000 * number + 2999, count)
        for number, count in enumerate(counts)
    ]
    flat = [ms for count, ms in zip(counts, latencies, strict=True) for _ in range(count)]
    whole = sum(flat) / 9000
    return {
        "seconds": 9.0,
        "latencies_ms": tuple(flat),
        "ends_ms": tuple(float(end) for end in np.concatenate(ends)),
        "users": round(whole, 3),  # so that Little's law holds for this made-up trace
    }


def one_gap(gap_ms: float) -> Change:
    """Return 10 s of one user with an answer every 10 ms, except for one gap."""
    ends = [n * 10.0 for n in range(1, 501)]
    ends += [5000.0 + gap_ms + n * 10.0 for n in range(int((5000 - gap_ms) / 10) + 1)]
    latencies = np.diff([0.0, *ends])
    return {"latencies_ms": tuple(map(float, latencies)), "ends_ms": tuple(ends)}


# code, just within the limit, just beyond it, whether that invalidates, whether it is from outside


def found(cell: Cell, code: str) -> list[Warn]:
    return [warn for warn in doubts(cell) if warn.code == code]


def closed_loop(
    users: int, seconds: float, latency: Callable[[float], float], stalls: tuple[float, ...] = ()
) -> Cell:
    """Simulate users without think time; the server stands still for 1 s at each of ``stalls``.

    ``latency`` is told the time in seconds and gives milliseconds.
    """
    done: list[tuple[float, float]] = []
    for user in range(users):
        time = -latency(0.0) * (user + 0.5) / users
        while True:
            end = time + latency(time / 1000)
            for stall in stalls:
                if end > 1000 * stall and time < 1000 * (stall + 1):
                    end = max(end, 1000 * (stall + 1) + max(0.0, end - 1000 * stall))
            if end >= 1000 * seconds:
                break
            if end >= 0:
                done.append((end, end - time))
            time = end
    done.sort()
    return changed(
        CELL,
        users=users,
        seconds=seconds,
        latencies_ms=tuple(latency for _, latency in done),
        ends_ms=tuple(end for end, _ in done),
    )
