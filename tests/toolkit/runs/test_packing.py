"""Times packed and unpacked: equal, small, and damage is noticed."""

from __future__ import annotations

import base64
import json
import random
import zlib
from typing import Any

import pytest

from tiankong.toolkit.runs.packing import pack, unpack


def raw(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "times",
    [
        [],
        [0.0],
        [12.345],
        [5.0, 1.0, 3.0, 3.0],
        [0.001, 86_400_000.0, 0.002],  # a day and back: differences of both signs
    ],
)
def test_whole_microseconds_come_back_exactly(times: list[float]) -> None:
    assert [*unpack(pack(times))] == times


def test_many_times_come_back_exactly_through_json() -> None:
    source = random.Random(1)
    times = [round(source.expovariate(1 / 40), 3) for _ in range(5000)]
    assert [*unpack(json.loads(json.dumps(pack(times))))] == times


def test_finer_times_are_rounded_to_the_nearest_microsecond() -> None:
    assert [*unpack(pack([0.0004, 0.0006, 1.23456]))] == [0.0, 0.001, 1.235]


def test_errors_do_not_add_up() -> None:
    times = [n * 0.0004 for n in range(10_001)]
    assert unpack(pack(times))[-1] == pytest.approx(4.0, abs=0.0005)


def test_completion_times_take_a_fraction_of_their_text() -> None:
    source = random.Random(2)
    end, ends = 0.0, []
    for _ in range(2000):
        end += source.uniform(4, 5)
        ends.append(round(end, 3))
    assert len(json.dumps(pack(ends))) < len(json.dumps(ends)) / 2


def test_what_a_packed_column_says() -> None:
    column = pack([1.5, 2.5])
    assert (column["count"], column["unit"]) == (2, "us")
    steps = zlib.decompress(base64.b64decode(column["packed"]))
    assert steps == (1500).to_bytes(8, "little") + (1000).to_bytes(8, "little")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unit": "ms"}, "times in 'ms', not 'us'"),
        ({"unit": None}, "times in None"),
        ({"count": 3}, "2 packed times, not 3"),
        ({"count": None}, "2 packed times, not None"),
        ({"packed": "no base64!"}, "cannot be read"),
        ({"packed": base64.b64encode(b"no zlib").decode()}, "cannot be read"),
        ({"packed": pack([1.5, 2.5])["packed"][:-8]}, "cannot be read"),
        ({"packed": raw(b"123")}, "cannot be read"),
        ({"packed": 7}, "cannot be read"),
        ({"packed": None}, "cannot be read"),
    ],
)
def test_a_damaged_column_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        unpack(pack([1.5, 2.5]) | change)


@pytest.mark.parametrize("missing", ["unit", "count", "packed"])
def test_a_column_with_a_missing_part_is_refused(missing: str) -> None:
    column = pack([1.5, 2.5])
    del column[missing]
    with pytest.raises(ValueError, match=r"packed|times in"):
        unpack(column)
