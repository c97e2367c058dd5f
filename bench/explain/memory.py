"""How fast memory is read and copied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ...toolkit.files import MEBIBYTE
from ...toolkit.machine import cache_bytes

LEAST_ARRAY, CACHES = 256 * MEBIBYTE, 4  # an array must be several times the last-level cache


@dataclass
class Bandwidth:
    """How fast so many threads read or copy memory: 10^9 bytes a second, for each round."""

    cores: int
    array_bytes: int
    rates: list[float] = field(default_factory=list)

    @property
    def typical(self) -> float:
        """The median of the rounds."""
        return float(np.median(self.rates))

    def as_json(self) -> dict[str, Any]:
        """Return the bandwidth as a JSON object."""
        return {
            "cores": self.cores,
            "gigabytes_per_second": self.typical,
            "best_gigabytes_per_second": max(self.rates),
            "array_bytes": self.array_bytes,
        }


def array_bytes() -> int:
    """Return the size of an array to read: several times the last-level cache, if memory allows."""
    wanted = max(LEAST_ARRAY, CACHES * cache_bytes())
    return min(wanted, psutil.virtual_memory().available // 8) // 4096 * 4096


def arrays() -> NDArray[np.float32]:
    """Return two arrays to read and copy, of shape (2, numbers)."""
    return np.ones((2, array_bytes() // 8), np.float32)


def bandwidth(arrays: NDArray[np.float32], cores: int) -> float:
    """Return the higher rate of reading and copying, in 10^9 bytes a second.

    A copied byte counts twice: it is read and written.
    """
    source, target = (np.array_split(array, cores) for array in arrays)

    def once(work: Callable[[int], object]) -> float:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(cores)]
        begun = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun

    read = once(lambda n: source[n].max())
    copy = once(lambda n: np.copyto(target[n], source[n]))
    return float(max(arrays[0].nbytes / read, arrays.nbytes / copy)) / 1e9
