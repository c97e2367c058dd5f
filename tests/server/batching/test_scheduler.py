"""The queue before the streams, and the batches they take from it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tiankong.server.batching.scheduler import Limits, Pending, Scheduler, next_batch
from tiankong.server.http.problems import ProblemError
from tiankong.toolkit.engines.predictor import Answer, Ranked

SLOW, FAILING = 100, 101


def job(length: int = 5, word: int = 0, candidates: tuple[str, ...] | None = None) -> Pending:
    return Pending([word] * length, 5, candidates)


class Model:
    """Answers a job with its length.  SLOW ones wait for ``gate``, FAILING ones fail a batch."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.batches: list[list[int]] = []

    def infer(self, jobs: Sequence[Pending]) -> list[Answer]:
        self.batches.append([len(job.ids) for job in jobs])
        words = {word for job in jobs for word in job.ids}
        if SLOW in words:
            self.gate.wait(10)
        if FAILING in words:
            raise KeyError("failing")
        return [[[Ranked(str(len(job.ids)), 1.0)]] for job in jobs]

    def wait_for(self, batches: int) -> None:
        while len(self.batches) < batches:
            threading.Event().wait(0.001)


def lengths(answers: Sequence[Answer]) -> list[int]:
    return [int(answer[0][0].token) for answer in answers]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def start(model: Model) -> Iterator[Callable[..., Scheduler]]:
    started = []

    def start_scheduler(
        streams: int = 1, queue_limit: int = 2, limits: Limits | None = None
    ) -> Scheduler:
        scheduler = Scheduler(model.infer, streams, queue_limit, limits or Limits())
        started.append(scheduler)
        return scheduler

    yield start_scheduler
    model.gate.set()
    for scheduler in started:
        scheduler.close()


Start = Callable[..., Scheduler]


def soon(seconds: float = 0.05) -> float:
    return asyncio.get_running_loop().time() + seconds


# --- room, order, deadlines, failures ---


def test_answers_keep_their_order(start: Start) -> None:
    jobs = [job(n) for n in (30, 10, 20)]
    assert lengths(asyncio.run(start().run(jobs, None))) == [30, 10, 20]


def test_a_full_queue_takes_all_or_nothing(start: Start, model: Model) -> None:
    scheduler = start()
    with pytest.raises(ProblemError) as caught:
        asyncio.run(scheduler.run([job() for _ in range(4)], None))
    assert caught.value.status == 503
    assert caught.value.headers == {"Retry-After": "1"}
    assert not model.batches
    assert len(asyncio.run(scheduler.run([job() for _ in range(3)], None))) == 3


def test_past_the_deadline_work_not_begun_is_dropped_and_its_room_is_free(
    start: Start, model: Model
) -> None:
    scheduler = start(limits=Limits(sentences=1))

    async def scenario() -> None:
        with pytest.raises(ProblemError) as caught:
            await scheduler.run([job(word=SLOW), job(7)], soon())
        assert caught.value.status == 504
        model.gate.set()
        assert lengths(await scheduler.run([job(3), job(4)], soon(5))) == [3, 4]

    asyncio.run(scenario())
    assert model.batches == [[5], [3], [4]]


def test_work_past_its_deadline_keeps_its_room_until_it_ends(start: Start, model: Model) -> None:
    scheduler = start()

    async def scenario() -> None:
        with pytest.raises(ProblemError):
            await scheduler.run([job(word=SLOW)], soon())
        with pytest.raises(ProblemError) as caught:
            await scheduler.run([job()] * 3, soon(5))
        assert caught.value.status == 503

    asyncio.run(scenario())


def test_a_failure_is_raised_and_what_has_not_begun_is_dropped(start: Start, model: Model) -> None:
    scheduler = start(queue_limit=9, limits=Limits(sentences=1))

    async def scenario() -> None:
        running = asyncio.create_task(scheduler.run([job(word=SLOW)], None))
        await asyncio.to_thread(model.wait_for, 1)
        failing = asyncio.create_task(
            scheduler.run([job(2, FAILING), *map(job, range(3, 9))], None)
        )
        await asyncio.sleep(0)
        model.gate.set()
        await running
        with pytest.raises(KeyError):
            await failing
        assert (
            len(await scheduler.run([job(1) for _ in range(10)], soon(5))) == 10
        )  # all room is free again

    asyncio.run(scenario())


def test_one_sentence_fails_alone(start: Start, model: Model) -> None:
    scheduler = start(queue_limit=9)

    async def scenario() -> None:
        running = asyncio.create_task(scheduler.run([job(word=SLOW)], None))
        await asyncio.to_thread(model.wait_for, 1)
        others = [
            asyncio.create_task(scheduler.run([pending], None))
            for pending in (job(7), job(8, FAILING), job(9))
        ]
        await asyncio.sleep(0)
        model.gate.set()
        await running
        outcomes = await asyncio.gather(*others, return_exceptions=True)
        assert isinstance(outcomes[1], KeyError)
        assert [lengths(outcomes[n])[0] for n in (0, 2)] == [7, 9]  # type: ignore[arg-type]

    asyncio.run(scenario())
    assert model.batches == [[5], [7, 8, 9], [7], [8], [9]]


def test_the_end_drops_what_has_not_begun(start: Start, model: Model) -> None:
    scheduler = start(limits=Limits(sentences=1))

    async def scenario() -> None:
        running = asyncio.create_task(scheduler.run([job(word=SLOW)], None))
        await asyncio.to_thread(model.wait_for, 1)
        waiting = asyncio.create_task(scheduler.run([job()], None))
        await asyncio.sleep(0)
        threading.Timer(0.05, model.gate.set).start()
        await asyncio.to_thread(scheduler.close)
        assert lengths(await running) == [5]
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(ProblemError):
            await scheduler.run([job()], None)

    asyncio.run(scenario())


# --- batches ---


def test_what_waits_becomes_a_batch_and_nothing_waits_for_one(start: Start, model: Model) -> None:
    scheduler = start(queue_limit=20, limits=Limits(sentences=8))

    async def scenario() -> None:
        running = asyncio.create_task(scheduler.run([job(word=SLOW)], None))
        await asyncio.to_thread(model.wait_for, 1)
        others = [asyncio.create_task(scheduler.run([job(8)], None)) for _ in range(11)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(running, *others)

    asyncio.run(scenario())
    assert model.batches == [[5], [8] * 8, [8] * 3]


def test_streams_share_what_waits() -> None:
    waiting = [job(8) for _ in range(5)]
    assert len(next_batch(waiting, 1, Limits())) == 5
    assert len(next_batch(waiting, 2, Limits())) == 3
    assert len(next_batch(waiting, 8, Limits())) == 1


def test_like_lengths_go_together_and_the_oldest_always_goes() -> None:
    waiting = [job(length) for length in (30, 8, 31, 100, 29, 9)]
    chosen = next_batch(waiting, 1, Limits(padding=4))
    assert [len(pending.ids) for pending in chosen] == [30, 31, 29]
    assert chosen[0] is waiting[0]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(sentences=1), [10]),
        (Limits(sentences=3), [10, 10, 10]),
        (Limits(padding=0), [10, 10, 10]),
        (Limits(padding=1), [10, 10, 10, 11]),
        (Limits(tokens=25), [10, 10]),
        (Limits(tokens=9), [10]),
        (Limits(padded=25), [10, 10]),
        (Limits(tokens=43, padded=60, padding=60), [10, 10, 10, 11]),
    ],
)
def test_limits(limits: Limits, expected: list[int]) -> None:
    waiting = [job(length) for length in (10, 12, 10, 11, 10)]
    assert [len(pending.ids) for pending in next_batch(waiting, 1, limits)] == expected


def test_only_the_same_candidates_go_together() -> None:
    waiting = [job(candidates=c) for c in (("上",), None, ("上",), ("下",), None)]
    assert next_batch(waiting, 1, Limits()) == [waiting[0], waiting[2]]
    assert next_batch(waiting[1:], 1, Limits()) == [waiting[1], waiting[4]]


def test_a_long_queue_is_not_looked_through() -> None:
    waiting = [job(10), *(job(100) for _ in range(100)), job(10)]
    assert next_batch(waiting, 1, Limits(padding=0)) == [waiting[0]]


# --- who asked ---


def test_nothing_asked(start: Start) -> None:
    assert asyncio.run(start().run([], None)) == []


def test_callers_of_several_loops(start: Start) -> None:
    scheduler = start(queue_limit=99)

    def ask(length: int) -> list[Answer]:
        return asyncio.run(scheduler.run([job(length)], None))

    with ThreadPoolExecutor(4) as callers:
        assert [lengths(answers) for answers in callers.map(ask, range(1, 30))] == [
            [n] for n in range(1, 30)
        ]


def test_a_loop_that_ended_before_its_answer_stops_no_stream(start: Start, model: Model) -> None:
    scheduler = start()

    async def leave() -> None:
        task = asyncio.create_task(scheduler.run([job(word=SLOW)], None))
        await asyncio.to_thread(model.wait_for, 1)
        task.cancel()

    asyncio.run(leave())
    model.gate.set()
    assert lengths(asyncio.run(scheduler.run([job(7)], None))) == [7]
