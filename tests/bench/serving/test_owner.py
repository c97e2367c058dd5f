"""Whose CPU it is: a server itself, and what stands before one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tiankong.bench.load.sentences import Questions
from tiankong.bench.load.target import Target
from tiankong.bench.serving.owner import owner
from tiankong.bench.serving.served import Served, running, started
from tiankong.bench.sweep.measure import Window, measure
from tiankong.toolkit.processes import end_with_parent, free_port, started_ticks
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.validity import doubts

FAKE = Path(__file__).parents[1] / "fake_server.py"
FORWARDER = """
import socket, sys, threading
def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()
with socket.create_server((sys.argv[1], int(sys.argv[2]))) as listener:
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(("127.0.0.1", int(sys.argv[3])))
        for pair in ((client, server), (server, client)):
            threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[int, int]]:
    """Port and process of the reference server around a fake predictor."""
    port = free_port()
    argv = [sys.executable, str(FAKE), str(port), "--work", "0.002"]
    with started("the fake server", argv, {}) as process:
        process.await_ready(f"http://127.0.0.1:{port}/health/ready")
        yield port, process.pid


@contextmanager
def forwarded(to: int, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Stand before a port, as a proxy or a container's port does; yield the URL."""
    port = free_port() if port is None else port
    process = subprocess.Popen(
        [sys.executable, "-c", FORWARDER, host, str(port), str(to)],
        stdout=subprocess.PIPE, text=True, preexec_fn=end_with_parent,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    yield f"http://{host}:{port}"
    process.kill()
    process.communicate()


def test_a_server_is_its_own(served: tuple[int, int]) -> None:
    port, pid = served
    for host in ("127.0.0.1", "localhost"):
        assert owner(Target(f"http://{host}:{port}")) == pid


def test_what_stands_before_a_server_is_not_the_server(served: tuple[int, int]) -> None:
    with forwarded(served[0]) as url:
        assert owner(Target(url)) is None


def test_the_same_port_of_another_address_is_not_the_server(served: tuple[int, int]) -> None:
    with forwarded(served[0], "127.0.0.2", served[0]) as url:
        assert owner(Target(url)) is None
        assert owner(Target(f"http://127.0.0.1:{served[0]}")) == served[1]


@pytest.mark.parametrize(
    "url", ["http://192.0.2.8:8080", "http://127.0.0.1", "https://127.0.0.1:9", "http://[::1]:9"]
)
def test_of_a_server_elsewhere_or_of_none_nothing_is_known(url: str) -> None:
    assert owner(Target(url)) is None


def test_an_id_is_a_process_only_with_its_start() -> None:
    assert started_ticks() == started_ticks(os.getpid())
    assert started_ticks(2**22 + 1) is None


def test_a_cell_of_an_unknown_server_says_that_it_is_unknown(served: tuple[int, int]) -> None:
    point = Point("fake", "target", Load(2))
    questions = Questions(["疑是地[MASK]霜。"], [])
    with forwarded(served[0]) as url, running(Target(url)) as server:
        cell = measure(point, server, questions, Window(1.5, 0.3))
    assert len(cell.latencies_ms) > 10
    assert (cell.server_cpu_percent, cell.other_cpu_percent) == (None, None)
    assert (cell.resident_bytes, cell.proportional_bytes) == (None, None)
    assert "machine-busy" not in {warn.code for warn in doubts(cell)}


def test_of_a_server_elsewhere_the_rest_of_this_machine_is_known(served: tuple[int, int]) -> None:
    point = Point("fake", "target", Load(2))
    questions = Questions(["疑是地[MASK]霜。"], [])
    server = Served(Target(f"http://127.0.0.1:{served[0]}"), None, 0.0, None)  # as if elsewhere
    cell = measure(point, server, questions, Window(1.5, 0.3))
    assert (cell.server_cpu_percent, cell.resident_bytes) == (None, None)
    assert cell.other_cpu_percent is not None
    assert cell.other_cpu_percent > 1  # the fake server's own work
