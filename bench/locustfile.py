"""Load for a fill-mask server: the gold set's sentences over ``POST /predict``, no think time.

Usable alone: ``locust -f bench/locustfile.py --host http://127.0.0.1:8080``.  The toolkit sets
``TIANKONG_LOAD`` to a job file (see job.py).  Then answers are checked, arrivals may be Poisson,
the raw latencies of one window after a warm-up (or of blocks in turns) are written to a file, and
the window's edges are announced on standard output.  With Locust's workers (``--processes``, or
``--master`` and ``--worker``) the master sends the job to every worker and merges their samples.

The only file that imports Locust.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from gevent.event import Event
from gevent.queue import Queue
from locust import User, constant, events, task
from locust.rpc import Message
from locust.runners import LocalRunner, MasterRunner, Runner, WorkerRunner

from tiankong.bench.load.generator import CLOSED, OPENED, TURNED
from tiankong.bench.load.job import JOB_FILE, RESULT_FILE, Job, arrivals
from tiankong.bench.load.keep_alive import KeepAlive, StatusError, encode_request
from tiankong.bench.load.recorder import Recorder, Result, merged, wrong_answer
from tiankong.bench.load.target import Target
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.machine import versions
from tiankong.toolkit.runs.cell import UNANSWERED

READY, JOB, OPEN, CLOSE, SAMPLES = (
    f"tiankong-{name}" for name in ("ready", "job", "open", "close", "samples")
)
HEARTBEAT_SECONDS = 0.05  # one beat costs a quarter of the CPU time of a request
ASK_SECONDS = 0.5  # between a worker's requests for a job
PATIENCE_SECONDS = 60.0  # for workers to take the job, and to send samples after the window
UNFINISHED = "unfinished"  # open-loop requests without an answer when the wait for it ended


class Party:
    """One generator process's part of a job: its requests, its clock, its results."""

    def __init__(self) -> None:
        self.job: Job | None = None
        self.recorder = Recorder()
        self.turns: Iterator[list[int]] = iter(())
        self.queue: Queue[float] = Queue()
        self.target = 0
        self.ready, self.flowing = Event(), Event()
        self.opened = self.closed = self.cpu = self.waited = 0.0
        self.beats: list[float] = []
        self.requests: dict[tuple[int, ...], bytes] = {}

    @property
    def is_open_loop(self) -> bool:
        """Whether requests have intended start times that do not depend on answers."""
        return self.job is not None and self.job.rate is not None

    def take(self, job: Job, number: int, parties: int) -> None:
        """Begin a job as generator ``number`` (from 0) of ``parties``."""
        self.job = job
        self.turns = job.requests(number * max(1, len(job.sentences) // parties))
        if job.rate is not None:
            gevent.spawn(self._arrive, job.rate / parties, job.seed * 1000 + number)
        if not job.blocks:
            self.flowing.set()
        gevent.spawn(self._beat)
        self.ready.set()

    def _arrive(self, rate: float, seed: int) -> None:
        start = time.perf_counter()
        for offset in arrivals(rate, seed):
            due = start + offset
            if (pause := due - time.perf_counter()) > 0:
                gevent.sleep(pause)
            self.recorder.begin(due)
            self.queue.put(due)

    def _beat(self) -> None:
        while True:
            before = time.perf_counter()
            gevent.sleep(HEARTBEAT_SECONDS)
            self.beats.append(time.perf_counter() - before - HEARTBEAT_SECONDS)

    def due(self) -> float:
        """Wait until a request is due; return its intended start."""
        self.ready.wait()
        if self.is_open_loop:
            return float(self.queue.get())
        self.flowing.wait()
        now = time.perf_counter()
        self.recorder.begin(now)
        return now

    def open(self) -> None:
        """Open the window."""
        self.beats.clear()
        self.cpu, self.waited = time.process_time(), queued_seconds()
        self.opened = time.perf_counter()

    def close(self) -> dict[str, Any]:
        """Close the window, wait for the answers to what was sent, and return the samples."""
        self.closed = time.perf_counter()
        used, waited = time.process_time() - self.cpu, queued_seconds() - self.waited
        beats = [beat * 1000 for beat in self.beats] or [0.0]
        self._drain()
        part = self.recorder.window(self.opened, self.closed, self.is_open_loop, self._wrong)
        if self.is_open_loop:
            lost, reason = self.recorder.missing(self.opened, self.closed), UNFINISHED
        else:
            lost, reason = len(self.recorder.unanswered(self.closed)), UNANSWERED
        if lost:
            part["failures"][reason] = lost
        return part | {
            "core_percent": 100 * used / (self.closed - self.opened),
            "wait_percent": 100 * waited / (used + waited),
            "heartbeat_ms": float(np.percentile(beats, 99)),
            "version": versions()["tiankong"],
        }

    def _drain(self) -> None:
        assert self.job is not None
        recorder, opened, closed = self.recorder, self.opened, self.closed
        if self.is_open_loop:
            _wait_until(lambda: not recorder.missing(opened, closed), self.job.drain_seconds)
            return
        deadline = self.job.deadline_seconds  # the users go on, so that the load stays as it was

        def settled() -> bool:
            return all(time.perf_counter() - due >= deadline for due in recorder.unanswered(closed))

        _wait_until(settled, deadline)

    def block(self, target: int, seconds: float) -> dict[str, Any]:
        """Load one target for ``seconds``, wait for all answers, and return the block."""
        self.target, self.recorder.results = target, []
        begun = time.perf_counter()
        self.flowing.set()
        gevent.sleep(seconds)
        self.flowing.clear()
        while self.recorder.waiting:
            gevent.sleep(0.001)
        results = self.recorder.results
        end = max((result.end for result in results), default=time.perf_counter())
        part = self.recorder.window(begun, end + 1, False, self._wrong)
        kept = {name: part[name] for name in ("latencies_ms", "failures", "wrong", "examples")}
        return {"target": target, "seconds": end - begun, **kept}

    def request(self, target: int, places: Sequence[int]) -> bytes:
        """Return the bytes of the request for the sentences at these indices."""
        key = (target, *places)
        if key not in self.requests:
            assert self.job is not None
            texts = [self.job.sentences[place] for place in places]
            path, data = self.job.question(target, texts)
            self.requests[key] = encode_request(self.job.targets[target], path, data)
        return self.requests[key]

    def _wrong(self, result: Result) -> str:
        assert self.job is not None
        right = self.job.right(result.target, result.places)
        text = self.job.sentences[result.places[0]]
        dialect = self.job.targets[result.target].dialect
        return wrong_answer(text, result.answer, right, dialect) if right else ""


party = Party()


class Reader(User):
    """A Locust user: sends requests when they are due (in a closed loop: at once)."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Start without connections."""
        self.connections: dict[int, KeepAlive] = {}

    @task
    def read(self) -> None:
        """Send one request; in a measurement, one after the other until the process is ended."""
        result = self._send()
        while party.job is not None and party.job.is_measured:
            party.recorder.finish(result)
            result = self._send()
        self._report(result)

    def _send(self) -> Result:
        due = party.due()
        assert party.job is not None
        places, target = next(party.turns), party.target
        request, answer, error = party.request(target, places), b"", None
        if target not in self.connections:
            self.connections[target] = KeepAlive(party.job.targets[target])
        sent = time.perf_counter()
        try:
            answer = self.connections[target].post(request)
        except (OSError, HTTPException, StatusError) as raised:
            error = raised
        return Result(due, sent, time.perf_counter(), error, answer, target, places)

    def _report(self, result: Result) -> None:
        """Add the result to Locust's statistics, which nobody reads in a measurement."""
        assert party.job is not None
        party.recorder.waiting.discard(result.due)
        self.environment.events.request.fire(
            request_type="POST", name=party.job.path, exception=result.error, context={},
            response_time=(result.end - result.sent) * 1000, response_length=len(result.answer),
        )  # fmt: skip


def queued_seconds() -> float:
    """Return how long this process has waited for a core (0 if the kernel does not say)."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _read_job(host: str) -> tuple[Job, bool]:
    """Return the job and whether it is measured: the job file's, or else endless load on --host."""
    path = os.environ.get(JOB_FILE)
    if path:
        return Job.from_json(json.loads(Path(path).read_text(encoding="utf-8"))), True
    return Job([Target(host)], read_gold().texts()), False


class Conductor:
    """The master's part (or that of a single process): the window's edges and the result."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.job, self.is_measured = _read_job(runner.environment.host or "")
        self.wanted: int = max(1, runner.environment.parsed_options.expect_workers)
        self.numbers: dict[str, int] = {}
        self.parts: list[dict[str, Any]] = []
        self.begun = False

    def greet(self, msg: Message, **_: Any) -> None:
        """Send a worker its job."""
        number = self.numbers.setdefault(msg.node_id, len(self.numbers))
        data = {"job": self.job.as_json(), "number": number, "parties": self.wanted}
        self.runner.send_message(JOB, data, msg.node_id)

    def begin(self, **_: Any) -> None:
        """Begin the measurement once all users are there."""
        if self.is_measured and not self.begun:
            self.begun = True
            gevent.spawn(self._measure_blocks if self.job.blocks else self._measure_window)

    def collect(self, msg: Message, **_: Any) -> None:
        """Store one generator's samples."""
        self.parts.append(msg.data)

    def _measure_window(self) -> None:
        if isinstance(self.runner, MasterRunner):
            _wait_until(lambda: len(self.numbers) == self.wanted, PATIENCE_SECONDS)
        gevent.sleep(self.job.warmup_seconds)
        _announce(OPENED)
        self.runner.send_message(OPEN)
        gevent.sleep(self.job.seconds)
        _announce(CLOSED)  # first: in a single process the message waits for late answers
        self.runner.send_message(CLOSE)
        patience = max(self.job.drain_seconds, self.job.deadline_seconds) + PATIENCE_SECONDS
        _wait_until(lambda: len(self.parts) == self.wanted, patience)
        self._finish(self._merged())

    def _merged(self) -> dict[str, Any]:
        mine = versions()["tiankong"]
        for part in self.parts:
            if (theirs := part.pop("version")) != mine:
                return {"error": f"a worker runs tiankong {theirs}, not {mine}"}
        if len(self.parts) < self.wanted:
            return {"error": f"{len(self.parts)} of {self.wanted} load generators sent samples"}
        return merged(self.parts)

    def _measure_blocks(self) -> None:
        _announce(OPENED)
        blocks = []
        for target, seconds in self.job.blocks:
            blocks.append(party.block(target, seconds))
            _announce(TURNED)
        _announce(CLOSED)
        self._finish({"blocks": blocks})

    def _finish(self, result: dict[str, Any]) -> None:
        text = json.dumps(result, ensure_ascii=False)
        Path(os.environ[RESULT_FILE]).write_text(text, encoding="utf-8")
        sys.stdin.readline()  # our parent reads our CPU time before it writes a line
        if isinstance(self.runner, MasterRunner):
            self.runner.send_message("quit")
            gevent.sleep(0.2)
        os._exit(0)  # at once: Locust would wait for its users, and the result is written


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    limit = time.perf_counter() + seconds
    while not condition() and time.perf_counter() < limit:
        gevent.sleep(HEARTBEAT_SECONDS)


def _announce(line: str) -> None:
    print(line, flush=True)


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """Set up the role of this process: alone, master or worker."""
    runner = environment.runner
    if isinstance(runner, (LocalRunner, WorkerRunner)):
        runner.register_message(JOB, _take_job)
        runner.register_message(OPEN, lambda **_: party.open())
        runner.register_message(CLOSE, _close, concurrent=True)
    if isinstance(runner, (LocalRunner, MasterRunner)):
        conductor = Conductor(runner)
        runner.register_message(READY, conductor.greet)
        runner.register_message(SAMPLES, conductor.collect)
        environment.events.spawning_complete.add_listener(conductor.begin)
        if isinstance(runner, LocalRunner):
            party.take(conductor.job, 0, 1)
    else:
        gevent.spawn(_request_job, runner)


def _request_job(runner: WorkerRunner) -> None:
    """Ask the master for the job until it arrives.

    A job sent when a worker connects would be lost: the worker registers its listeners later.
    """
    while party.job is None:
        runner.send_message(READY)
        gevent.sleep(ASK_SECONDS)


def _take_job(msg: Message, **_: Any) -> None:
    if party.job is None:
        party.take(Job.from_json(msg.data["job"]), msg.data["number"], msg.data["parties"])


def _close(environment: Any, **_: Any) -> None:
    environment.runner.send_message(SAMPLES, party.close())
