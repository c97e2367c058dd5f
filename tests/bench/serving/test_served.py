from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tiankong.bench.load.target import Target
from tiankong.bench.serving.accounting import processes
from tiankong.bench.serving.served import running, serve
from tiankong.server.settings import Settings
from tiankong.toolkit.errors import InvalidMeasurementError

if TYPE_CHECKING:
    from tiankong.server.settings import Stack

ORPHAN = """
import subprocess, sys, time
from tiankong.toolkit.processes import end_with_parent
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                         preexec_fn=end_with_parent, start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def wait_until_gone(pids: list[int]) -> list[int]:
    """Return the processes that still run after ten seconds."""
    limit = time.monotonic() + 10
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < limit:
        time.sleep(0.05)
    return left


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("stack", ["reference", "article"])
def test_a_folder_that_is_no_variant_gives_the_logs_last_line(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(InvalidMeasurementError) as caught, serve(stack, Settings(folder=tmp_path)):
        pass
    message = str(caught.value)
    assert f"the {stack} server of {tmp_path.name} ended (exit code" in message
    assert "\n" not in message
    if stack == "reference":
        assert "variant.json is missing" in message


@pytest.mark.parametrize("stack", ["reference", "article"])
def test_a_server_and_its_children_are_gone_after_the_block(stack: Stack, home: Any) -> None:
    with serve(stack, Settings(folder=home.variants["onnx-int8"].folder)) as server:
        assert server.pid is not None
        pids = [process.pid for process in processes(server.pid)]
        assert server.pid in pids
        assert len(pids) == (1 if stack == "reference" else 3)
        assert server.start_seconds > 0
        with running(server.target) as same_server:  # the article's server does not say who it is
            assert same_server.pid == (server.pid if stack == "reference" else None)
    assert wait_until_gone(pids) == []
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url, timeout=5)


def test_a_server_is_gone_when_the_block_raises(home: Any) -> None:
    block = serve("reference", Settings(folder=home.variants["onnx-int8"].folder))
    server = block.__enter__()
    assert not block.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert server.pid is not None
    assert wait_until_gone([server.pid]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
def test_a_child_dies_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    assert wait_until_gone([child]) == []


def test_a_server_that_was_killed_is_no_measurement(home: Any) -> None:
    block = serve("reference", Settings(folder=home.variants["onnx-int8"].folder))
    with pytest.raises(InvalidMeasurementError, match=r"ended \(killed by signal 9\)"), block as it:  # noqa: PT012
        assert it.pid is not None
        os.kill(it.pid, signal.SIGKILL)
        assert wait_until_gone([it.pid]) == []


def test_a_server_is_pinned_to_the_cores_it_is_given(home: Any) -> None:
    settings = Settings(folder=home.variants["onnx-int8"].folder)
    with serve("reference", settings, cores=1) as server:
        assert server.pid is not None
        assert os.sched_getaffinity(server.pid) == {min(os.sched_getaffinity(0))}


def test_of_a_server_elsewhere_no_process_is_known() -> None:
    for url in ("http://192.0.2.8:8080", "http://127.0.0.1:9", "http://127.0.0.1"):
        with running(Target(url)) as server:
            assert server.pid is None
