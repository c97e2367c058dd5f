from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tiankong.server.batching.streams import CROWD, SECONDS, choose
from tiankong.toolkit.engines.predictor import About


class Machine:
    """Simulated cores and a clock: a batch's time depends on how many run at the same time."""

    def __init__(self, seconds: Callable[[int, int], float]) -> None:
        self.seconds = seconds  # time of a batch, given its sentences and the streams side by side
        self.now = 0.0
        self.batches: list[int] = []
        self._lock = threading.Lock()
        self._together = 0

    def infer(self, count: int) -> None:
        with self._lock:
            self.batches.append(count)
            self._together += 1

    def clock(self) -> float:
        with self._lock:
            if self._together:
                self.now += self.seconds(self.batches[-1], self._together)
                self._together = 0
            return self.now


def fixed_cost(batch: int, streams: int) -> float:
    """A batch takes 10 ms and 1 ms per sentence; one stream alone can use both of two cores."""
    return (0.010 + 0.001 * batch) * max(1.0, streams * 1.0)


def idle_core(batch: int, streams: int) -> float:
    """Every stream can use one core only."""
    return (0.002 + 0.004 * batch) * max(1.0, streams / 2) ** 1.3


@pytest.mark.parametrize(("seconds", "most", "expected"), [(fixed_cost, 4, 1), (idle_core, 4, 2)])
def test_the_fastest_for_a_crowd(
    seconds: Callable[[int, int], float], most: int, expected: int
) -> None:
    machine = Machine(seconds)
    assert choose(machine.infer, most, 8, machine.clock) == expected
    assert SECONDS <= machine.now < 2 * SECONDS
    assert set(machine.batches) == {8, CROWD // 3, CROWD // 5}


def test_where_there_is_no_choice_nothing_is_measured() -> None:
    machine = Machine(fixed_cost)
    assert choose(machine.infer, 1, 8, machine.clock) == 1
    assert machine.batches == []


@pytest.mark.parametrize(("faster", "expected"), [(1.05, 3), (1.15, 1)])
def test_the_usual_number_stays_unless_another_is_clearly_faster(
    faster: float, expected: int
) -> None:
    machine = Machine(lambda batch, streams: streams * (0.01 / faster if streams == 1 else 0.01))
    assert choose(machine.infer, 3, 1, machine.clock) == expected


def test_batches_no_larger_than_allowed() -> None:
    machine = Machine(fixed_cost)
    choose(machine.infer, 2, 1, machine.clock)
    assert set(machine.batches) == {1}


def test_streams_that_nobody_set_are_measured(
    open_client: Callable[..., TestClient], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tiankong.server.batching.service.usable_cores", lambda: 2)
    real = engine.logits

    def slow(batch: Any) -> Any:
        time.sleep(0.002 * len(batch.input_ids))  # as if every caller had its own core
        return real(batch)

    monkeypatch.setattr(engine, "logits", slow)
    client = open_client(streams=0)
    assert client.get("/v2/models/fake").json()["parameters"]["streams"] == 2
    assert engine.asked > 16
    text = {"text": "今天气很[MASK]。"}
    assert client.post("/predict", json=text).status_code == 200


def test_what_an_earlier_start_found_is_not_measured_again(
    open_client: Callable[..., TestClient],
    engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tiankong.server.batching.service.usable_cores", lambda: 4)
    engine.about = About(kept=tmp_path / "key")

    def streams(**settings: Any) -> int:
        client = open_client(streams=0, **settings)
        count: int = client.get("/v2/models/fake").json()["parameters"]["streams"]
        return count

    first, asked = streams(), engine.asked
    (facts,) = tmp_path.iterdir()
    assert json.loads(facts.read_text()) == {"streams, of 4 at most, with batches of 16": first}
    assert streams() == first
    assert engine.asked == asked + 1  # the warm-up
    streams(max_batch=2)
    assert engine.asked > asked + 2
    facts.write_text(facts.read_text().replace(f": {first}", ": 99"))
    assert streams() <= 4
