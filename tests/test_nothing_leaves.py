"""Nothing leaves: every door of the project, run for real with a new home and watched.

A packet to another machine, a query for a name among them, or a file left in the home fails the
test.  ``TIANKONG_WATCH_SECONDS=60`` watches each server for a minute (docs/reliability.md).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hub_endpoint import HubEndpoint, save_tiny_model
from over_http import ask, free_port, wait_ready
from stand_in import standing_in
from watched import Watch, can_trace

from tiankong.server.launch import command, environment
from tiankong.server.settings import Settings

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

ROOT = Path(__file__).parents[1]
TEXT = "床前明月光,疑是地[MASK]霜。"
PREDICT = ("-m", "tiankong", "predict", "--model", "builtin-small", "--variant")
FACE = f"""
import tiankong
print(tiankong.open_predictor("onnx-int8", "builtin-small").predict(["{TEXT}"]))
"""
PEERS = {
    "litserve": ("litserve", "onnx-int8"),
    "optimum_onnxruntime": ("optimum.onnxruntime", "onnx-int8"),
    "transformers_pipeline": ("fastapi", "pytorch-fp32"),
    "ray_batch": ("ray", "onnx-int8"),
}


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path / "watched")


@pytest.fixture
def artifacts(small_variants: dict[str, Built]) -> dict[str, str]:
    """The variables that name the folder of the variants."""
    return {"TIANKONG_ARTIFACTS": str(small_variants["onnx-int8"].folder.parents[2])}


def require_nothing(watch: Watch) -> None:
    assert watch.left() == []
    assert watch.sent() == []


def serve_and_ask(watch: Watch, argv: list[str], more: dict[str, str], url: str) -> None:
    with watch.running(argv, more) as process:
        wait_ready(url, process)
        url = f"http://{urlsplit(url).netloc}"
        assert ask(f"{url}/predict", {"text": TEXT})["results"][0]["token"] == "上"
    require_nothing(watch)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param((*PREDICT, "onnx-int8", TEXT), id="command line"),
        pytest.param((*PREDICT, "openvino-int8", TEXT), id="command line, OpenVINO"),
        pytest.param(("-c", FACE), id="Python"),
    ],
)
def test_a_command(watch: Watch, artifacts: dict[str, str], words: tuple[str, ...]) -> None:
    if "openvino-int8" in words and find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    assert "上" in watch.run([sys.executable, *words], artifacts)
    require_nothing(watch)


@pytest.mark.parametrize("stack", ["reference", "article", "ray"])
def test_a_server(
    watch: Watch, artifacts: dict[str, str], small_variants: dict[str, Built], stack: str
) -> None:
    settings = Settings(small_variants["onnx-int8"].folder.absolute(), port=free_port())
    argv = command(stack, settings)  # type: ignore[arg-type]
    more = artifacts | environment(stack, settings)  # type: ignore[arg-type]
    health = "health" if stack == "article" else "health/ready"
    serve_and_ask(watch, argv, more, f"http://127.0.0.1:{settings.port}/{health}")


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer(watch: Watch, small_variants: dict[str, Built], peer: str) -> None:
    library, variant = PEERS[peer]
    if find_spec(library.partition(".")[0]) is None:
        pytest.skip(f"{library} is not installed: nox -s peers has it in an environment of its own")
    port = free_port()
    folder = small_variants[variant].folder.absolute()
    script = ROOT / "bench" / "peers" / peer / "serve.py"
    argv = [sys.executable, str(script), "--model-dir", str(folder), "--port", str(port)]
    serve_and_ask(watch, argv, {}, f"http://127.0.0.1:{port}/health")


class Answers(BaseHTTPRequestHandler):
    """Answers every POST."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({"results": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_the_load_generator(watch: Watch) -> None:
    with standing_in(Answers) as server:
        argv = [sys.executable, "-m", "locust", "-f", str(ROOT / "bench" / "locustfile.py")]
        watch.run([*argv, "--headless", "--host", server.url, "-u1", "-t2", "--only-summary"], {})
    require_nothing(watch)


def test_a_build_from_a_hub_asks_it_for_the_model_alone(watch: Watch, tmp_path: Path) -> None:
    files = save_tiny_model(tmp_path / "tiny")
    engines = ["onnx-int8", *["openvino-int8"] * bool(find_spec("nncf"))]
    with HubEndpoint(files) as hub:
        argv = [sys.executable, "-m", "tiankong", "build", "--model", hub.repo_id]
        more = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub")}
        watch.run([*argv, "--variants", ",".join(engines)], more)
    require_nothing(watch)
    assert hub.strangers == []
    assert hub.agents
    assert not [agent for agent in hub.agents if "torch/" in agent or "session_id" in agent]


SESSION = """
import sys, time
{first}
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(1)
"""


@pytest.mark.parametrize(
    ("first", "value", "leaves"),
    [("", {}, True), ("import tiankong", {}, False),
     ("import tiankong", {"ORT_DISABLE_TELEMETRY": "0"}, True)],
    ids=["without the package", "with it", "with it, asked for"],
)  # fmt: skip
def test_the_watch_sees_onnx_runtimes_telemetry(
    watch: Watch,
    small_variants: dict[str, Built],
    first: str,
    value: dict[str, str],
    leaves: bool,
) -> None:
    built = small_variants["onnx-int8"]
    file = built.folder / built.manifest.recipe.file
    watch.run([sys.executable, "-c", SESSION.format(first=first), str(file.absolute())], value)
    assert any(name.endswith("deviceid") for name in watch.left()) is leaves


def test_the_watch_sees_openvinos_telemetry(watch: Watch) -> None:
    apart = ["unshare", "--map-root-user", "--net"]  # without a network: nothing is really sent
    if "openvino-telemetry" not in packages_distributions().get("openvino_telemetry", ()):
        pytest.skip("OpenVINO's telemetry is not installed")
    if shutil.which("unshare") is None or subprocess.run([*apart, "true"]).returncode:
        pytest.skip("this machine allows no network namespace")
    watch.run([*apart, sys.executable, "-c", "import openvino"], {})
    assert "intel/openvino_ga_cid" in watch.left()


SENDING = """
import contextlib, socket
kind, host, port = {call}
with socket.socket(socket.AF_INET, kind) as it, contextlib.suppress(OSError):
    it.connect((host, port))
    it.send(b"hello")
"""


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        # A broadcast address: the kernel refuses it, so nothing is really sent.
        ("socket.SOCK_STREAM, '255.255.255.255', 443", True),
        ("socket.SOCK_DGRAM, '127.0.0.1', 53", True),
        ("socket.SOCK_DGRAM, '127.0.0.1', 9", False),
        ("socket.SOCK_STREAM, '127.0.0.1', 9", False),
    ],
)
def test_the_watch_sees_what_is_sent(watch: Watch, call: str, seen: bool) -> None:
    if not can_trace():
        pytest.skip("strace is not here, or may not trace: packets are not watched")
    watch.run([sys.executable, "-c", SENDING.format(call=call)], {})
    assert bool(watch.sent()) is seen
