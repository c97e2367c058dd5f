"""Proof of what HTTP and scheduling cost: the same predictor in-process and behind the server.

    python -m tiankong.bench.proof.overhead --variants onnx-int8,openvino-int8

Each round measures three ways in turns, all with the gold set and the server's own settings:

- ``predictor``: one thread per stream calls the predictor with batches of sentences sorted by
  length, one after the other.  No queue, no network: the upper limit.
- ``scheduler``: one caller per user sends one sentence after the other to the service behind the
  routes.
- ``server``: the same number of Locust users over HTTP.

Rounds go to ``artifacts/proof/overhead.jsonl``; ratios are taken within a round.  The generator
runs on the same cores, so part of the server's loss is the generator's CPU time; the table shows
it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from statistics import geometric_mean
from threading import Lock, Thread

from ...server.batching.cores import open_served
from ...server.batching.service import Service
from ...server.http.bodies import Question
from ...server.settings import Settings
from ...toolkit.building.folders import Built
from ...toolkit.building.store import Store
from ...toolkit.console import say
from ...toolkit.engines.predictor import Predictor
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.files import artifacts
from ...toolkit.gate.answers import load
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import GoldSet, read_gold
from ...toolkit.options import names
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import doubts, is_valid
from ..load.sentences import Questions, gold_questions
from ..serving.served import Served, in_force, serve
from ..sweep.measure import Window, undisturbed
from .program import command_line, ended_well
from .ratio import told

SECONDS, WARMUP_SECONDS = 6.0, 1.5
SATURATION = 64  # users: enough waiting sentences to fill batches of similar lengths
WAYS = ("predictor", "scheduler", "server")

Rates = dict[str, float]
"""Sentences per second of each way; under ``generator`` its percent of the machine's CPU time."""


def alone(predictor: Predictor, settings: Settings, gold: GoldSet, seconds: float) -> float:
    """Return sentences per second of the predictor, called by one thread per stream."""
    texts = sorted((item.text for item in gold.items), key=len)
    size = settings.max_batch
    batches = cycle([texts[i : i + size] for i in range(0, len(texts), size)])
    lock, end = Lock(), time.perf_counter() + seconds
    done: list[int] = []

    def work() -> None:
        while time.perf_counter() < end:
            with lock:
                batch = next(batches)
            predictor.predict(batch)
            done.append(len(batch))

    began = time.perf_counter()
    threads = [Thread(target=work) for _ in range(settings.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


async def _scheduled(service: Service, users: int, texts: Iterator[str], seconds: float) -> float:
    end = time.perf_counter() + seconds
    done = 0

    async def user() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await service.ask(Question((next(texts),)), None)
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(user() for _ in range(users)))
    return done / (time.perf_counter() - began)


def scheduled(
    predictor: Predictor, settings: Settings, users: int, questions: Questions, seconds: float
) -> float:
    """Return sentences per second through the service, without HTTP."""
    service = Service(predictor, settings)
    try:
        return asyncio.run(_scheduled(service, users, cycle(questions.texts), seconds))
    finally:
        service.close()


def rounds(built: Built, gold: GoldSet, users: int, count: int, out: Path) -> list[Rates]:
    """Measure ``count`` rounds of one variant; consecutive rounds begin with different ways.

    Each round is appended to ``out``; one with an invalid measurement of the server is left out.
    Raises InvalidMeasurementError if no round is left.
    """
    settings = Settings(folder=built.folder)
    variant = built.manifest.variant
    questions = gold_questions(gold, load(variant, built.manifest.digest, gold), seed=0)
    valid_rounds: list[Rates] = []
    with serve("reference", settings) as server:
        settings = replace(settings, streams=in_force(server.target, variant)["streams"])
        predictor = open_served(settings)
        alone(predictor, settings, gold, WARMUP_SECONDS)
        ways: dict[str, Callable[[], Rates]] = {
            "predictor": lambda: {"predictor": alone(predictor, settings, gold, SECONDS)},
            "scheduler": lambda: {
                "scheduler": scheduled(predictor, settings, users, questions, SECONDS)
            },
            "server": lambda: _served(server, questions, users, variant),
        }
        for number in range(count):
            start = number % len(WAYS)
            order = [*WAYS[start:], *WAYS[:start]]
            rates = {key: rate for way in order for key, rate in ways[way]().items()}
            if "server" not in rates:
                say(f"overhead: {variant}, round {number + 1} of {count} does not count")
                continue
            valid_rounds.append(rates)
            with out.open("a", encoding="utf-8") as stream:
                stream.write(
                    json.dumps({"variant": variant, "users": users} | valid_rounds[-1]) + "\n"
                )
            say(f"overhead: {variant}, round {number + 1} of {count}")
    if not valid_rounds:
        raise InvalidMeasurementError(f"{variant}: no round counts; try again on a calmer machine")
    return valid_rounds


def _served(server: Served, questions: Questions, users: int, variant: str) -> Rates:
    window = Window(SECONDS, WARMUP_SECONDS)
    cell = undisturbed(Point(variant, REFERENCE_STACK, Load(users)), server, questions, window)
    for warn in doubts(cell):
        if warn.invalidates:
            say(f"overhead: {variant}: {warn.code}")
    if not is_valid(cell):
        return {}
    return {"server": cell.qps, "generator": cell.generator_cpu_percent}


def summary(variant: str, users: int, measured: Sequence[Rates]) -> str:
    """Return one row of the table: the rates, and their ratios to the predictor's rate."""
    rates = [f"{geometric_mean(one_round[way] for one_round in measured):.1f}" for way in WAYS]
    shares = [_share(measured, way, "predictor") for way in WAYS[1:]]
    generator = sum(one_round["generator"] for one_round in measured) / len(measured)
    return f"| {' | '.join([variant, str(users), *rates, *shares, f'{generator:.1f} %'])} |"


def _share(measured: Sequence[Rates], way: str, of: str) -> str:
    return told([rates[way] / rates[of] for rates in measured])


def main() -> None:
    """Measure, and print the table."""
    parser = command_line("overhead", __doc__)
    parser.add_argument("--variants", default="onnx-int8")
    parser.add_argument("--users", type=int, default=SATURATION)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    with ended_well("overhead"):
        gold, out = read_gold(), artifacts() / "proof" / "overhead.jsonl"
        out.parent.mkdir(parents=True, exist_ok=True)
        rates = {
            built.manifest.variant: rounds(built, gold, given.users, given.rounds, out)
            for built in ensure(Store(given.model), names(given.variants), gold)
        }
    print("| variant | users | predictor | scheduler | server | scheduler/predictor |"
          " server/predictor | generator |")  # fmt: skip
    print(f"|{' --- |' * 8}")
    for variant, each in rates.items():
        print(summary(variant, given.users, each))


if __name__ == "__main__":
    main()
