"""Running servers on the command line: asked before anything is measured, and secured ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from secured import certificate, terminated

from tiankong.bench.serving.served import serve
from tiankong.server.settings import Settings
from tiankong.toolkit.processes import free_port

MODEL = ("--model", "builtin-small")
KEY = "a-key-that-nobody-may-see"
PLAN = "levels = [2]\nseconds = 1\nwarmup_seconds = 0.3\n"


@pytest.fixture
def plan(tool: Any) -> str:
    path: Path = tool.home / "target.toml"
    path.write_text(PLAN)
    return str(path)


def measuring(url: str, plan: str, variant: str = "onnx-int8") -> dict[str, tuple[str, ...]]:
    """Return a command for each way to name a running server."""
    return {
        "sweep": ("sweep", *MODEL, "--plan", plan, "--variants", variant, "--target", url),
        "capacity": ("capacity", variant, *MODEL, "--slo", "p95=1s", "--target", url),
        "compare": ("compare", variant, url, *MODEL, "--seconds", "10"),
    }


@pytest.mark.parametrize("command", ["sweep", "capacity", "compare"])
def test_nobody_there_is_said_at_once(tool: Any, plan: str, command: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    before = sorted((tool.artifacts / "runs").glob("*"))
    assert tool.refuses(*measuring(url, plan)[command]) == (
        f"tiankong: nobody answers at {url}: Connection refused"
    )
    assert sorted((tool.artifacts / "runs").glob("*")) == before


@pytest.mark.parametrize("command", ["sweep", "capacity"])
def test_another_variant_or_model_is_said(tool: Any, plan: str, command: str) -> None:
    with serve("reference", Settings(folder=tool.variant("onnx-fp32"))) as server:
        line = tool.refuses(*measuring(server.url, plan)[command])
    assert f"{server.url} serves onnx-fp32, not onnx-int8" in line


def test_our_own_secured_server_is_measured_and_its_key_stays_secret(
    tool: Any, plan: str, tmp_path: Path
) -> None:
    paths = certificate(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")
    settings = replace(Settings(folder=tool.variant("onnx-int8")), api_key_file=keys)
    with serve("reference", settings) as server, terminated(server.settings.port, paths) as port:  # type: ignore[union-attr]
        url = f"https://127.0.0.1:{port}"
        trusting = ("--cacert", str(paths[0]))
        assert "not trusted" in tool.refuses(*measuring(url, plan)["sweep"])
        for command in ("sweep", "capacity", "compare"):
            line = tool.refuses(*measuring(url, plan)[command], *trusting)
            assert "wants a key (HTTP 401)" in line
        ran = tool.run(*measuring(url, plan)["sweep"], *trusting, "--api-key-file", str(keys),
                       "--json", pinned=True)  # fmt: skip
    assert ran.returncode in (0, 3), ran.stderr
    found = json.loads(ran.stdout)
    assert all(cell["failed"] == cell["wrong"] == 0 < cell["qps"] for cell in found["cells"])
    assert KEY not in (tool.home / found["run"]).read_text() + ran.stdout + ran.stderr


def test_what_is_for_a_running_server_is_refused_without_one(tool: Any, plan: str) -> None:
    line = tool.refuses("sweep", *MODEL, "--plan", plan, "--insecure")
    assert "are for the URL of a running server" in line
