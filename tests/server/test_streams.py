from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from tiankong.server.problems import ProblemError
from tiankong.server.streams import Streams


@pytest.fixture
def streams() -> Iterator[Streams]:
    streams = Streams(1, 2)
    yield streams
    streams.close()


def soon(seconds: float = 0.05) -> float:
    return asyncio.get_running_loop().time() + seconds


def constant(value: int) -> Callable[[], int]:
    return lambda: value


def test_results_keep_their_order(streams: Streams) -> None:
    calls = [constant(value) for value in (3, 1, 2)]
    assert asyncio.run(streams.run(calls, None)) == [3, 1, 2]


def test_a_full_queue_takes_all_or_nothing(streams: Streams) -> None:
    begun = []
    with pytest.raises(ProblemError) as caught:
        asyncio.run(streams.run([lambda: begun.append(1)] * 4, None))
    assert caught.value.status == 503
    assert caught.value.headers == {"Retry-After": "1"}
    assert not begun
    assert len(asyncio.run(streams.run([lambda: begun.append(1)] * 3, None))) == 3


def test_past_the_deadline_work_not_begun_is_dropped_and_its_room_is_free(streams: Streams) -> None:
    gate, begun = threading.Event(), threading.Event()

    def begin() -> bool:
        begun.set()
        return True

    async def scenario() -> None:
        with pytest.raises(ProblemError) as caught:
            await streams.run([lambda: gate.wait(10), begin], soon())
        assert caught.value.status == 504
        gate.set()
        assert await streams.run([constant(1)] * 2, soon(5)) == [1, 1]

    asyncio.run(scenario())
    assert not begun.is_set()


def test_work_past_its_deadline_keeps_its_room_until_it_ends(streams: Streams) -> None:
    gate = threading.Event()

    async def scenario() -> None:
        with pytest.raises(ProblemError):
            await streams.run([lambda: gate.wait(10)], soon())
        with pytest.raises(ProblemError) as caught:
            await streams.run([constant(1)] * 3, soon(5))
        assert caught.value.status == 503
        gate.set()

    asyncio.run(scenario())


def test_the_first_failure_in_order_is_raised_and_the_rest_dropped(streams: Streams) -> None:
    done = []

    def fail() -> None:
        raise KeyError("first")

    def late() -> None:
        done.append(1)

    async def scenario() -> None:
        gate = threading.Event()
        running = asyncio.create_task(streams.run([lambda: gate.wait(10)], None))
        await asyncio.sleep(0)
        failing = asyncio.create_task(streams.run([fail, late], None))
        await asyncio.sleep(0)
        gate.set()
        await running
        with pytest.raises(KeyError):
            await failing
        assert await streams.run([constant(1)] * 3, soon(5)) == [1, 1, 1]  # no room was lost

    asyncio.run(scenario())
