"""Pack columns of times for a JSON file: integer microseconds, differences, zlib, base64."""

from __future__ import annotations

import base64
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MICROSECONDS = 1000  # in a millisecond


def pack(milliseconds: Sequence[float]) -> dict[str, Any]:
    """Return times in milliseconds as a JSON object, rounded to microseconds.

    ``packed`` holds the differences between neighbours as little-endian 64-bit integers,
    compressed with zlib and encoded as base64.

    >>> unpack(pack([12.5, 13.25]))
    array('d', [12.5, 13.25])
    """
    times = np.rint(np.asarray(milliseconds, dtype=np.float64) * MICROSECONDS).astype("<i8")
    steps = np.diff(times, prepend=np.int64(0)).astype("<i8")
    packed = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode("ascii")
    return {"count": len(times), "unit": "us", "packed": packed}


def unpack(column: Mapping[str, Any]) -> array[float]:
    """Return the times of a packed column in milliseconds; raise ValueError if it is damaged.

    An array has eight bytes a time, a tuple of floats 32; NumPy reads it without a copy.
    """
    if column.get("unit") != "us":
        raise ValueError(f"times in {column.get('unit')!r}, not 'us'")
    try:
        raw = zlib.decompress(base64.b64decode(column["packed"], validate=True))
        steps = np.frombuffer(raw, dtype="<i8")
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"packed times cannot be read: {error}") from None
    if len(steps) != column.get("count"):
        raise ValueError(f"{len(steps)} packed times, not {column.get('count')}")
    return array("d", (np.cumsum(steps) / MICROSECONDS).tobytes())
