"""A rolling restart behind nginx: no client sees that a server goes."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.processes import free_port

NGINX = """
%s
worker_processes 1; daemon off; pid nginx.pid; error_log error.log;
events { worker_connections 256; }
http {
  access_log off; client_max_body_size 64m; client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  upstream kept { %s keepalive 8; }
  server {
    listen 127.0.0.1:%d;
    location / { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
"""
BODY = json.dumps({"text": "今天[MASK]"})


@pytest.fixture(autouse=True)
def delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_DELAY", "0")


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[int]:
    """Run nginx before the servers on ``ports``; yield its own port."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("no nginx on this machine")
    port = free_port()
    upstreams = " ".join(f"server 127.0.0.1:{each};" for each in ports)
    user = "user root;" if os.geteuid() == 0 else ""  # who may write into the folder
    (folder / "nginx.conf").write_text(NGINX % (user, upstreams, port))
    argv = [program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(500):
                if asked(port) == 200:
                    break
                time.sleep(0.02)
            yield port
        finally:
            process.terminate()


def asked(port: int, body: str = BODY) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request("POST", "/predict", body, {"Content-Type": "application/json"})
        return line.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        line.close()


def test_no_client_sees_a_server_go(start_process: Callable[..., Any], tmp_path: Path) -> None:
    going, staying = start_process("--drain-delay=0.5"), start_process()
    with nginx(tmp_path, [going.port, staying.port]) as port:

        def ask_on(_: int) -> Counter[int | str]:
            line, seen = http.client.HTTPConnection("127.0.0.1", port, timeout=20), Counter()
            last = 200
            while last:
                line.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                response = line.getresponse()
                response.read()
                seen[response.status] += 1
                if going.process.poll() is not None:
                    last -= 1
            return seen

        with ThreadPoolExecutor(4) as clients:
            results = clients.map(ask_on, range(4))
            time.sleep(0.3)
            going.process.send_signal(signal.SIGTERM)
            seen = sum(results, Counter())
    assert set(seen) == {200}
    assert going.end() == (0, "")


def test_a_body_that_is_too_large_is_a_413_behind_a_proxy(
    start_process: Callable[..., Any], tmp_path: Path
) -> None:
    with nginx(tmp_path, [start_process().port]) as port:
        assert [asked(port, "x" * size) for size in (70_000, 4_000_000)] == [413, 413]
