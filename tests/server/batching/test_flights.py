"""Identical sentences in flight are inferred once, and each caller keeps a fate of its own."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tiankong.server.batching.scheduler import JoinedError
from tiankong.server.batching.service import Service
from tiankong.server.http.bodies import Question
from tiankong.server.http.problems import ProblemError
from tiankong.server.settings import Settings
from tiankong.toolkit.engines.predictor import Answer, Predictor

SLOW, OTHER = "slow[MASK]", "今天[MASK]"


@pytest.fixture
def service(predictor: Predictor, engine: Any) -> Iterator[Service]:
    settings = Settings(Path("nowhere"), streams=1, max_batch=1, queue_limit=3, join=True)
    serving = Service(predictor, settings)
    yield serving
    engine.gate.set()
    serving.close()


def joined(service: Service) -> float:
    text = service.metrics.exposition("")[0].decode()
    [line] = [line for line in text.splitlines() if line.startswith("tiankong_joined_total ")]
    return float(line.rpartition(" ")[2])


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def scenario(
    service: Service, engine: Any, play: Callable[[Callable[..., Any]], Awaitable[None]]
) -> None:
    """Play with a stream that is busy until the gate opens, and hold all to be empty at the end."""

    async def run() -> None:
        def ask(*texts: str, seconds: float | None = None, **more: Any) -> asyncio.Task[Any]:
            at = None if seconds is None else asyncio.get_running_loop().time() + seconds
            return asyncio.create_task(service.ask(Question(texts, **more), at))

        engine.gate.clear()
        busy = ask("今slow[MASK]")
        await until(lambda: engine.asked == 1)
        await play(ask)
        engine.gate.set()
        await busy
        assert service._flights is not None
        assert len(service._flights) == 0
        answers = await ask(*(f"{n}[MASK]" for n in "今天气"))  # all room is free again
        assert len(answers) == 3

    asyncio.run(run())


def test_one_inference_answers_all_with_the_same(service: Service, engine: Any) -> None:
    alone = service._predictor.predict([OTHER])
    before = engine.asked

    async def play(ask: Callable[..., Any]) -> None:
        asking = [ask(OTHER) for _ in range(50)]  # more than the queue has places
        await asyncio.sleep(0)
        engine.gate.set()
        answers: list[list[Answer]] = await asyncio.gather(*asking)
        assert all(answer == alone for answer in answers)

    engine.asked = 0
    scenario(service, engine, play)
    assert before == 1
    assert engine.asked == 2 + 3  # the busy one, one for all, the three at the end
    assert joined(service) == 49


def test_the_first_that_leaves_takes_nobody_along(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        first, *others = [ask(OTHER) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert service.waiting == 1
        engine.gate.set()
        assert all(await asyncio.gather(*others))

    scenario(service, engine, play)


def test_who_leaves_after_the_inference_has_begun_takes_nobody_along(
    service: Service, engine: Any
) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        first = ask(SLOW)
        await asyncio.sleep(0)
        engine.gate.set()
        engine.gate.clear()  # the busy one is done
        await until(lambda: engine.asked == 2)
        second = ask(SLOW)
        await asyncio.sleep(0)
        first.cancel()
        engine.gate.set()
        assert await second

    scenario(service, engine, play)


def test_what_nobody_waits_for_any_more_is_not_asked(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        both = [ask(OTHER), ask(OTHER)]
        await asyncio.sleep(0)
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        assert service.waiting == 0
        again = ask(OTHER)  # joins nothing that was dropped
        await asyncio.sleep(0)
        assert service.waiting == 1
        engine.gate.set()
        assert await again

    scenario(service, engine, play)
    assert joined(service) == 1


def test_what_runs_for_nobody_can_be_joined(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        left = ask("今slow[MASK]")  # what is in the engine
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        again = ask("今slow[MASK]")
        await asyncio.sleep(0)
        assert service.waiting == 0
        engine.gate.set()
        assert await again

    scenario(service, engine, play)
    assert joined(service) == 2


def test_each_has_a_deadline_of_its_own(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        patient, hasty, patient_too = ask(OTHER), ask(OTHER, seconds=0.05), ask(OTHER, seconds=20.0)
        with pytest.raises(ProblemError) as caught:
            await hasty
        assert caught.value.status == 504
        engine.gate.set()
        assert await patient == await patient_too

    scenario(service, engine, play)


def test_the_first_ones_deadline_is_not_the_others(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        hasty, patient = ask(OTHER, seconds=0.05), ask(OTHER)
        with pytest.raises(ProblemError):
            await hasty
        assert service.waiting == 1
        engine.gate.set()
        assert await patient

    scenario(service, engine, play)


def test_a_failure_fails_all_each_with_an_error_of_its_own(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        asking = [ask("boom[MASK]") for _ in range(3)]
        await asyncio.sleep(0)
        engine.gate.set()
        first, *others = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(first, RuntimeError)
        assert all(isinstance(error, JoinedError) for error in others)
        assert all(error.__cause__ is first for error in others)
        assert others[0] is not others[1]
        before = engine.asked
        with pytest.raises(RuntimeError):  # a failure is not remembered
            await ask("boom[MASK]")
        assert engine.asked == before + 1

    scenario(service, engine, play)


def test_only_the_same_question_is_joined(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        others = [ask(OTHER), ask(OTHER, top_k=3), ask(OTHER, candidates=("上",))]
        await asyncio.sleep(0)
        assert service.waiting == 3
        with pytest.raises(ProblemError) as caught:  # a fourth finds no room, however asked
            await ask(OTHER, candidates=("下",))
        assert caught.value.status == 503
        engine.gate.set()
        answers = await asyncio.gather(*others)
        assert [len(answer[0][0]) for answer in answers] == [5, 3, 1]

    scenario(service, engine, play)
    assert joined(service) == 0


def test_a_request_that_finds_no_room_leaves_those_it_joined_alone(
    service: Service, engine: Any
) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        first = ask(OTHER)
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as caught:
            await ask(OTHER, "今[MASK]", "天[MASK]", "气[MASK]")
        assert caught.value.status == 503
        assert service.waiting == 1
        engine.gate.set()
        assert await first

    scenario(service, engine, play)


def test_texts_of_one_request_are_joined_too(service: Service, engine: Any) -> None:
    async def play(ask: Callable[..., Any]) -> None:
        batch = ask(OTHER, "今[MASK]", OTHER, OTHER)
        await asyncio.sleep(0)
        assert service.waiting == 2
        engine.gate.set()
        answers = await batch
        assert answers[0] == answers[2] == answers[3] != answers[1]

    scenario(service, engine, play)
    assert joined(service) == 2


def test_the_cache_keeps_what_was_joined(predictor: Predictor, engine: Any) -> None:
    settings = Settings(Path("nowhere"), streams=1, cache=8, join=True)
    service = Service(predictor, settings)

    async def play(ask: Callable[..., Any]) -> None:
        together = [ask(OTHER) for _ in range(4)]
        await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(*together)
        asked = engine.asked
        await asyncio.gather(*(ask(OTHER) for _ in range(4)))
        assert engine.asked == asked

    scenario(service, engine, play)
    service.close()


def test_over_http_the_answers_are_equal_and_the_stages_add_up(
    start_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0.4")
    server = start_process("--join", "--streams=1")

    def ask(wait: float) -> tuple[int, bytes, str]:
        time.sleep(wait)
        connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.request("POST", "/predict", json.dumps({"text": SLOW}))
        response = connection.getresponse()
        body, timing = response.read(), response.headers["Server-Timing"]
        connection.close()
        return response.status, body, timing

    with ThreadPoolExecutor(6) as callers:
        answers = list(callers.map(ask, [0.0, 0.1, 0.1, 0.2, 0.2, 0.3]))
    assert len({(status, body) for status, body, _ in answers}) == 1
    assert answers[0][0] == 200
    for _, _, timing in answers:
        total, queue, engine = (float(part.rpartition("=")[2]) for part in timing.split(","))
        assert 0 <= queue <= total
        assert 0 < engine <= total
    with HTTPConnectionTo(server.port) as metrics:
        assert "tiankong_joined_total 5.0" in metrics
        assert 'tiankong_requests_total{route="/predict",status="200"} 6.0' in metrics
        assert 'tiankong_stage_seconds_count{stage="engine"} 6.0' in metrics
        assert "tiankong_queue_seconds_count 2.0" in metrics  # the warm-up and one
    server.process.send_signal(signal.SIGTERM)
    assert server.end() == (0, "")
    assert server.settings["join"] is True


class HTTPConnectionTo:
    """The lines of a server's /metrics."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=20)

    def __enter__(self) -> list[str]:
        self._connection.request("GET", "/metrics")
        return self._connection.getresponse().read().decode().splitlines()

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def test_it_is_off_unless_asked_for(
    open_client: Callable[..., TestClient], engine: Any, tmp_path: Path
) -> None:
    assert Settings(tmp_path).join is False
    client = open_client(max_batch=1)
    engine.gate.clear()
    before = engine.asked
    with ThreadPoolExecutor(4) as callers:
        answers = [callers.submit(client.post, "/predict", json={"text": SLOW}) for _ in range(4)]
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        end = time.monotonic() + 10
        while service.waiting < 3:
            assert time.monotonic() < end
            threading.Event().wait(0.005)
        engine.gate.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert engine.asked == before + 4
    assert "tiankong_joined" not in client.get("/metrics").text
