from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tiankong.server.ending import ended_at_once

HANDLED = (signal.SIGTERM, signal.SIGINT)
# The real command, with a model whose prepared form takes long to write (in a thread).
OPENING = """
import sys, time
from pathlib import Path
from tiankong.server import launch
from tiankong.server.__main__ import main
from tiankong.toolkit.engines.prepared import prepare

def write(scratch):
    (scratch / "half").write_bytes(b"of it")
    print("writing", flush=True)
    time.sleep(60)

def open_served(settings):
    prepare(settings.folder / "model.onnx", "digest", "onnxruntime", write)

launch.open_served = open_served
sys.exit(main(["--port=0", f"--variant-dir={sys.argv[1]}"]))
"""
# The real command; the signal arrives while it imports its modules.
IMPORTING = """
import signal, sys
from tiankong.server.__main__ import main

class Finder:
    def find_spec(self, name, *_):
        if name == "tiankong.server.launch":
            signal.raise_signal(signal.SIGTERM)

sys.meta_path.insert(0, Finder())
sys.exit(main(["--port=0", "--variant-dir=nowhere"]) or 1)
"""


def run(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("sig", HANDLED)
def test_a_signal_while_the_model_is_opened_ends_well_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_variant: Callable[[Path], None],
    sig: signal.Signals,
) -> None:
    (tmp_path / "variant").mkdir()
    write_variant(tmp_path / "variant")
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    with run(OPENING, tmp_path / "variant") as server:
        assert server.stdout
        assert server.stdout.readline() == "writing\n"
        assert len(list((tmp_path / "artifacts/prepared").glob(".*.part"))) == 1
        server.send_signal(sig)
        _, errors = server.communicate(timeout=20)
    assert (server.returncode, errors) == (0, "")
    assert [path.name for path in (tmp_path / "artifacts/prepared").iterdir()] == [".lock"]


def test_a_signal_before_anything_is_imported_ends_well() -> None:
    with run(IMPORTING) as server:
        _, errors = server.communicate(timeout=20)
    assert (server.returncode, errors) == (0, "")


def test_the_handlers_before_are_restored() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    with ended_at_once():
        assert [signal.getsignal(number) for number in HANDLED] != before
        with ended_at_once():
            pass
        assert [signal.getsignal(number) for number in HANDLED] != before
    assert [signal.getsignal(number) for number in HANDLED] == before


def test_nothing_is_changed_from_another_thread() -> None:
    before = [signal.getsignal(number) for number in HANDLED]
    handlers = []

    def look() -> None:
        with ended_at_once():
            handlers.extend(signal.getsignal(number) for number in HANDLED)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == before
