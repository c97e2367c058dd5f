"""Replicas of a real Ray Serve on this machine; one of them is killed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tiankong.toolkit.machine import usable_cores
from tiankong.toolkit.processes import free_port
from tiankong.toolkit.runs.validity import invalidating, is_disturbed

pytest.importorskip("ray", reason="Ray is not installed: pip install 'tiankong[ray]'")
# It starts many processes and kills one under load: not at the same time as other tests.
pytestmark = pytest.mark.machine

VARIANT = "onnx-int8"
ASKERS = 4
LIMIT = 90.0  # seconds; a busy machine starts slowly


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Any
    body: Any


def fetch(url: str, question: Any = None, **headers: str) -> Reply:
    data = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=40) as response:
            return Reply(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.headers, error.read())


class Service:
    """A variant served with Ray Serve, its processes and their output."""

    def __init__(self, folder: Path, command: Sequence[str], **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.out, self.err = folder / "out", folder / "err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, f"--port={self.port}"],
                stdout=out,
                stderr=err,
                env=os.environ | variables,
            )
        self.family: set[psutil.Process] = set()
        self.places: set[str] = set()  # Ray's folders

    def await_ready(self) -> None:
        until = time.monotonic() + LIMIT
        while "settings {" not in self.err.read_text():
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < until, self.err.read_text()
            time.sleep(0.1)

    def replicas(self) -> list[psutil.Process]:
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.family |= {psutil.Process(self.process.pid), *family}
        for process in family:
            self.places |= {*re.findall(r"/tmp/tk-[^/ ]+", " ".join(process.cmdline()))}
        return [process for process in family if "ServeReplica" in " ".join(process.cmdline())]

    def end(self) -> int:
        self.replicas()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT)


@pytest.fixture(scope="module")
def expected(gated_variants: Any) -> dict[str, list[str]]:
    """Return the gold sentences and the variant's tokens for each, asked without load."""
    from tiankong.toolkit.building.opening import open_variant
    from tiankong.toolkit.gate.gold import find_gold

    predictor = open_variant(gated_variants[VARIANT].folder)
    texts = [item.text for item in find_gold("builtin").items]
    return {text: [entry.token for entry in predictor.predict([text])[0][0]] for text in texts}


@pytest.fixture(scope="module")
def service(gated_variants: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    command = f"tiankong serve --model builtin-small --variant {VARIANT} --stack ray --replicas 2"
    with running(Service(tmp_path_factory.mktemp("ray"), command.split())) as service:
        yield service


@contextmanager
def running(service: Service) -> Iterator[Service]:
    try:
        service.await_ready()
        yield service
    finally:
        if service.process.poll() is None:
            service.end()


class Load:
    """Threads that ask gold sentences until the block ends; every answer is checked."""

    def __init__(self, url: str, expected: dict[str, list[str]]) -> None:
        self._url, self._expected = url, list(expected.items())
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(ASKERS)]
        self.right = 0
        self.others: list[Any] = []
        self.by: list[str] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def await_answers(self, count: int, seconds: float = LIMIT) -> None:
        until, goal = time.monotonic() + seconds, len(self.by) + count
        while len(self.by) < goal:
            assert time.monotonic() < until, (count, len(self.by), self.others)
            time.sleep(0.02)

    def _ask(self, place: int) -> None:
        while not self._over.is_set():
            text, tokens = self._expected[place % len(self._expected)]
            place += ASKERS
            try:
                reply = fetch(f"{self._url}/predict", {"text": text})
            except (OSError, http.client.HTTPException) as error:
                self.others.append(repr(error))
                continue
            if reply.status != 200:
                self.others.append((reply.status, reply.headers["Content-Type"], reply.body))
                continue
            answered = [entry["token"] for entry in json.loads(reply.body)["results"]]
            if answered != tokens:
                self.others.append((text, tokens, answered))
            else:
                self.by.append(reply.headers["X-Served-By"])


def test_it_answers_as_the_reference_server_does(service: Service) -> None:
    text = "床前明月光,疑是地[MASK]霜。"
    reply = fetch(f"{service.url}/predict", {"text": text}, **{"X-Request-ID": "mine"})
    body = json.loads(reply.body)
    assert (body["results"][0]["token"], body["variant"]) == ("上", VARIANT)
    assert reply.headers.get_all("X-Request-ID") == ["mine"]
    wrong = fetch(f"{service.url}/predict", {"text": "没有空"})
    assert (wrong.status, wrong.headers["Content-Type"]) == (400, "application/problem+json")
    assert fetch(f"{service.url}/predict", {"text": "字" * 70_000}).status == 413
    assert fetch(f"{service.url}/nowhere").status == 404
    assert b"<html" in fetch(service.url).body


def test_the_settings_in_force_are_shown(service: Service) -> None:
    from tiankong.server.batching.cores import cores_each

    shown = json.loads(fetch(f"{service.url}/v2/models/{VARIANT}").body)["parameters"]
    assert (shown["replicas"], shown["max_replicas"]) == (2, 2)
    assert shown["threads"] == shown["streams"] == cores_each(2)
    printed = service.err.read_text()
    assert printed.splitlines()[0] == f"serving {VARIANT} on {service.url}"
    assert f"settings {json.dumps(shown)}" in printed


def test_replicas_map_the_same_packed_weights(service: Service, shared_artifacts: Path) -> None:
    found = [{entry.path for entry in replica.memory_maps()} for replica in service.replicas()]
    prepared = str(shared_artifacts.absolute() / "prepared")
    kept = [{path for path in paths if path.startswith(prepared)} for paths in found]
    assert len(kept) == 2
    assert kept[0] == kept[1] != set()
    shown = json.loads(fetch(f"{service.url}/v2/models/{VARIANT}").body)["parameters"]
    assert shown["unpads"]
    assert shown["least_threads"] == 1


def test_a_sweep_measures_it_with_all_its_processes(service: Service, tmp_path: Path) -> None:
    from tiankong.toolkit.runs.run_file import read_run

    plan = tmp_path / "ray.toml"
    plan.write_text("levels = [4]\nseconds = 1.5\nwarmup_seconds = 0.5\n")
    command = f"sweep --model builtin-small --variants {VARIANT} --target {service.url} --json"
    done = subprocess.run(
        [sys.executable, "-m", "tiankong", *command.split(), "--plan", str(plan)],
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr  # 3: something else was at work meanwhile
    [cell] = read_run(Path(json.loads(done.stdout)["run"])).cells
    assert (cell.point.variant, cell.point.stack, cell.load.users) == (VARIANT, "target", 4)
    assert (cell.wrong, cell.failures, cell.examples) == (0, {}, [])
    assert is_disturbed(cell) or not invalidating(cell)
    assert len(cell.latencies_ms) > 10
    replicas = service.replicas()
    family = [process.memory_info().rss for process in service.family if process.is_running()]
    assert len(family) > len(replicas) + 4  # the command, Ray's own, two replicas
    assert cell.resident_bytes == pytest.approx(sum(family), rel=0.1)
    assert cell.proportional_bytes is not None
    assert 100e6 < cell.proportional_bytes < cell.resident_bytes
    assert cell.server_cpu_percent > 5


def test_metrics_tell_of_all_replicas(service: Service) -> None:
    until = time.monotonic() + LIMIT
    names: set[bytes] = set()
    while len(names) < 2:  # the router of the replica that is asked learns of the others
        assert time.monotonic() < until
        lines = fetch(f"{service.url}/metrics").body.splitlines()
        memory = [line for line in lines if line.startswith(b"process_resident_memory_bytes{")]
        names = {line.split(b'"')[1] for line in memory}
    assert len([line for line in lines if line == b"# TYPE tiankong_requests_total counter"]) == 1


def test_nothing_listens_to_other_machines_without_a_password(service: Service) -> None:
    import grpc

    service.replicas()
    own = {process.pid for process in service.family}
    heard = [c for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in own]
    assert any(entry.laddr.port == service.port for entry in heard)
    foreign = [entry for entry in heard if entry.laddr.ip not in ("127.0.0.1", "::ffff:127.0.0.1")]
    # The port by which replicas talk to each other: Ray has no setting for its address.
    assert len(foreign) <= len(service.replicas())
    for entry in foreign:
        with grpc.insecure_channel(f"127.0.0.1:{entry.laddr.port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=20)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_killed_replica_costs_no_answer_and_comes_back(
    service: Service, expected: dict[str, list[str]]
) -> None:
    with Load(service.url, expected) as load:
        load.await_answers(100)
        before = set(load.by)
        assert len(before) == 2
        victim = service.replicas()[0]
        victim.kill()
        until = time.monotonic() + LIMIT
        while not set(load.by) - before:  # until the replacement answers
            assert time.monotonic() < until, load.others
            load.await_answers(20)
        load.await_answers(100)
    assert load.others == []
    assert len(service.replicas()) == 2
    assert not victim.is_running()


def test_a_second_one_on_its_port_is_one_line(service: Service, tmp_path: Path) -> None:
    options = ["--model", "builtin-small", "--port", str(service.port), "--stack", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "tiankong", "serve", *options],
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{service.port}" in done.stderr


def test_sigterm_under_load_ends_it_all_with_0(
    service: Service, expected: dict[str, list[str]]
) -> None:
    with Load(service.url, expected) as load:
        load.await_answers(20)
        code = service.end()
    assert code == 0, service.err.read_text()
    # An answer, or a refusal with Retry-After; after the last answer, no connection.
    refused = [other for other in load.others if isinstance(other, tuple)]
    assert load.others[: len(refused)] == refused
    assert {other[:2] for other in refused} == {(503, "application/problem+json")}
    _, left = psutil.wait_procs(service.family, 5)
    assert left == []
    assert len(service.places) == 1
    assert not any(Path(place).exists() for place in service.places)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", service.port), 5)
    lines = [json.loads(line) for line in service.out.read_text().splitlines()]
    assert {line["request_id"] for line in lines} >= {"mine"}
    assert len(lines) > 200
    said = service.err.read_text()
    assert "Traceback" not in said
    assert "Task ServeController" not in said


def test_it_needs_neither_the_cluster_of_the_surroundings_nor_a_place_for_weights(
    gated_variants: Any, tmp_path: Path
) -> None:
    nowhere = tmp_path / "file"
    nowhere.touch()
    folder = gated_variants[VARIANT].folder
    command = ["tiankong.server", f"--variant-dir={folder}", "--replicas=1"]
    alone = {"RAY_ADDRESS": "127.0.0.1:1", "TIANKONG_ARTIFACTS": str(nowhere)}
    with running(Service(tmp_path, command, **alone)) as service:
        text = "床前明月光,疑是地[MASK]霜。"
        reply = fetch(f"{service.url}/predict", {"text": text})
        assert json.loads(reply.body)["results"][0]["token"] == "上"
        shown = json.loads(fetch(f"{service.url}/v2/models/{VARIANT}").body)["parameters"]
        assert (shown["threads"], shown["streams"]) == (usable_cores(), 1)
        said = service.err.read_text().splitlines()
        assert service.end() == 0
    assert "cannot be kept prepared" in said[0]
    assert "every batch gets all cores of its replica" in said[0]
    assert [line.split()[0] for line in said[1:]] == ["serving", "settings"]


def test_a_sigterm_while_replicas_are_still_starting_is_a_good_end(
    gated_variants: Any, tmp_path: Path
) -> None:
    folder = gated_variants[VARIANT].folder
    command = ["tiankong.server", f"--variant-dir={folder}", "--replicas=2"]
    service = Service(tmp_path, command)
    until = time.monotonic() + LIMIT
    ready = False
    try:
        while not ready:  # until one of them is ready
            assert time.monotonic() < until, service.err.read_text()
            with suppress(OSError):
                ready = fetch(f"{service.url}/health/ready").status == 200
            time.sleep(0.02)
    finally:
        code = service.end()
    assert code == 0
    said = service.err.read_text()
    assert "SIGTERM received" not in said  # the message of Ray's own handler
    assert "Traceback" not in said


def test_a_variant_that_answers_otherwise_than_at_the_gate_is_not_served(
    gated_variants: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from dataclasses import replace

    from tiankong.toolkit.building.manifest import read_manifest, write_manifest

    folder = tmp_path / "artifacts" / "variants" / "builtin-small" / VARIANT
    shutil.copytree(gated_variants[VARIANT].folder, folder)
    manifest = read_manifest(folder)
    wrong = {"text": "今天天气很[MASK]。", "results": [{"token": "错", "score": 0.9}]}
    write_manifest(folder, replace(manifest, gate={**(manifest.gate or {}), "expected": wrong}))
    done = subprocess.run(
        [sys.executable, "-m", "tiankong.server", f"--variant-dir={folder}", "--port=0",
         "--replicas=1"],
        capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("tiankong: ")
    assert "cannot be served: the warm-up failed" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
