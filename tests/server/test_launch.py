from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tiankong.server import launch
from tiankong.server.__main__ import main, read_arguments
from tiankong.server.launch import (
    bind,
    command,
    environment,
    require_article,
    require_takes,
)
from tiankong.server.settings import Settings, Stack
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.processes import free_port


def test_the_reference_command_says_the_settings(tmp_path: Path) -> None:
    settings = Settings(tmp_path, "0.0.0.0", 81, streams=3, deadline=6.5, spin=True)
    argv = command("reference", settings)
    assert argv[:3] == [sys.executable, "-m", "tiankong.server"]
    assert read_arguments(argv[3:]) == settings
    assert environment("reference", settings) == {}


def test_the_ray_command_says_the_settings(tmp_path: Path) -> None:
    settings = Settings(tmp_path, port=81, threads=3, replicas=2, max_replicas=4)
    argv = command("ray", settings)
    assert argv[:3] == [sys.executable, "-m", "tiankong.server"]
    assert read_arguments(argv[3:]) == settings
    assert read_arguments(command("ray", Settings(tmp_path))[3:]).replicas == 1
    given = environment("ray", Settings(tmp_path, deadline=2.5, body_limit=9))
    assert (given["TIANKONG_DEADLINE"], given["TIANKONG_BODY_LIMIT"]) == ("2.5", "9")
    assert len(given["RAY_AUTH_TOKEN"]) == 64
    assert given["RAY_AUTH_TOKEN"] != environment("ray", settings)["RAY_AUTH_TOKEN"]


@pytest.mark.parametrize(
    ("stack", "given", "part"),
    [
        ("article", {"cache": 5}, "not --cache"),
        ("article", {"api_key_file": Path("k"), "max_batch": 1}, "not --api-key-file, --max-batch"),
        ("article", {"access_log": False}, "not --access-log"),
        ("article", {"replicas": 1}, "not --replicas"),
        ("reference", {"max_replicas": 1}, "--max-replicas: only with --stack ray"),
        ("ray", {"connections": 5}, "--connections: not with --stack ray"),
        ("ray", {"head_deadline": 5.0}, "--head-deadline: not with --stack ray"),
    ],
)
def test_what_a_stack_does_not_have_is_refused(
    stack: Stack, given: dict[str, Any], part: str
) -> None:
    with pytest.raises(UnusableInputError, match=part):
        require_takes(stack, Settings(Path("v"), **given))
    if stack != "ray":  # which may not be installed
        require_takes(stack, Settings(Path("v"), host="::1", port=81))


def test_a_missing_ray_is_said_before_anything_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        require_takes("ray", Settings(Path("v"), replicas=2))
    assert caught.value.name == "ray"
    require_takes("reference", Settings(Path("v")))


def test_options_not_given_keep_their_defaults() -> None:
    assert read_arguments(["--variant-dir", "v"]) == Settings(Path("v"))


def test_the_article_command_is_two_workers_by_four_threads() -> None:
    settings = Settings(Path("v"), port=81)
    argv = command("article", settings)
    assert argv[:3] == [sys.executable, "-m", "gunicorn"]
    assert {"--workers=2", "--threads=4", "--bind=127.0.0.1:81"} <= set(argv)
    assert environment("article", settings) == {"TIANKONG_VARIANT_DIR": str(Path("v").absolute())}
    assert "--bind=[::1]:8080" in command("article", Settings(Path("v"), host="::1"))


def test_a_taken_port_is_one_line_before_the_model_is_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--variant-dir=nowhere", f"--port={port}"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in line


@pytest.mark.parametrize("host", ["256.1.1.1", "no-such-host.invalid", "::zz"])
def test_an_address_that_is_none(host: str) -> None:
    with pytest.raises(UnusableInputError, match="cannot listen"):
        bind(Settings(Path("v"), host=host, port=0))


def test_a_missing_or_damaged_variant_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--variant-dir={tmp_path}", "--port=0"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    (tmp_path / "variant.json").write_text("{")
    assert main([f"--variant-dir={tmp_path}", "--port=0"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("tiankong: ")
    assert line.count("\n") == 1


def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["--variant-dir=v", "--threads=0"], [], ["--variant-dir=v", "--port=x"]):
        assert main(wrong) == 2
    capsys.readouterr()


def test_the_articles_stack_refuses_other_engines(tmp_path: Path, write_variant: Any) -> None:
    write_variant(tmp_path, engine="pytorch")
    with pytest.raises(UnusableInputError, match="pytorch"):
        require_article(Settings(tmp_path))


def test_serving_imports_neither_torch_nor_transformers() -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from conftest import FakeEngine, make_predictor
from pathlib import Path
from starlette.testclient import TestClient
import tiankong.server.article, tiankong.server.launch, tiankong.server.reference
import tiankong.toolkit.building.availability, tiankong.toolkit.building.opening
from tiankong.server.routes.app import create_app
from tiankong.server.settings import Settings
settings = Settings(Path("v"), access_log=False)
with TestClient(create_app(make_predictor(FakeEngine()), settings)) as client:
    assert client.post("/predict", json={"text": "[MASK]"}).status_code == 200
heavy = ("torch", "transformers", "locust", "onnx", "typer", "tiankong.toolkit.models.families")
print([name for name in heavy if name in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.strip() == "[]", ran.stderr


@pytest.mark.parametrize("stack", ["reference", "article"])
def test_of_two_servers_started_at_once_on_a_port_one_is_refused_at_once(
    tmp_path: Path, write_variant: Any, stack: Stack
) -> None:
    write_variant(tmp_path)
    port = free_port()
    run = "from tiankong.server.launch import run; from tiankong.server.settings import Settings\n"
    run += "from tiankong.toolkit.guard import Guard; from pathlib import Path; import sys\n"
    run += f"guard = Guard('tool')\nwith guard: run('{stack}', Settings(Path(), port={port}))\n"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", run + "sys.exit(guard.code)"],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    try:
        limit = time.monotonic() + 60
        while all(process.poll() is None for process in processes):
            assert time.monotonic() < limit
            time.sleep(0.02)
        loser, winner = sorted(processes, key=lambda process: process.poll() is None)
        said = loser.communicate()[1]
        assert loser.returncode == 2, said
        assert said == (
            f"tool: cannot listen on 127.0.0.1:{port}: Address already in use;"
            " choose another --port\n"
        )
        while winner.poll() is None:
            with suppress(OSError):
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                line.request("GET", "/")
                assert line.getresponse().status
                break
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(30) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("stop", ["Arbiter.stop", "stumble"])
def test_gunicorn_that_gives_up_is_no_failed_gate(
    tmp_path: Path, write_variant: Any, stop: str
) -> None:
    # Where both workers fail at once, Gunicorn stumbles over the second while it stops.
    write_variant(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", BROKEN_WORKERS.format(stop=stop), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last == "tool: Gunicorn gave up with code 3: its lines above say why"


BROKEN_WORKERS = """
import sys
from pathlib import Path
from tiankong.server import article
from tiankong.server.launch import run_article
from tiankong.server.settings import Settings
from tiankong.toolkit.guard import Guard
article.ArticlePredictor.__init__ = lambda self, folder: 1 / 0
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

def stumble(self, graceful=True):
    raise HaltServer("Worker failed to boot.", 3)

Arbiter.stop = {stop}
guard = Guard("tool")
with guard:
    run_article(Settings(Path(sys.argv[1]), port=0))
sys.exit(guard.code)
"""
