"""compare, capacity and a sweep of a running server, with real servers and real Locust."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tiankong.bench.serving.served import Served, serve
from tiankong.server.settings import Settings
from tiankong.toolkit.runs.run_file import read_run

MODEL = ("--model", "builtin-small")
PROJECT = Path(__file__).resolve().parents[2]
VERDICTS = ("faster", "slower", "too close to call")


@contextmanager
def running(tool: Any, variant: str) -> Iterator[Served]:
    with serve("reference", Settings(folder=tool.variant(variant))) as server:
        yield server


def test_compare_settings_with_the_promised_shape(tool: Any) -> None:
    asked = ("compare", "onnx-fp32", "onnx-int8@streams=1,threads=1", *MODEL, "--seconds", "10")
    found = tool.data(*asked)
    assert {"a", "b", "ratio", "low", "high", "verdict"} <= found.keys()
    assert (found["a"], found["b"]) == asked[1:3]
    assert 0 < found["low"] < found["ratio"] < found["high"]
    assert found["verdict"] in VERDICTS
    assert found["control"]["low"] < found["control"]["ratio"] < found["control"]["high"]
    assert found["generations"] >= 2
    kept = [json.loads(p.read_text()) for p in (tool.artifacts / "comparisons").iterdir()]
    assert any(entry["ratio"] == found["ratio"] for entry in kept)


def test_compare_two_running_servers_and_fail_on_a_regression(tool: Any) -> None:
    with running(tool, "onnx-int8") as first, running(tool, "pytorch-fp32") as second:
        ran = tool.run("compare", first.url, second.url, *MODEL, "--seconds", "10",
                       "--fail-slower-than", "5%", "--json")  # fmt: skip
    found = json.loads(ran.stdout)
    assert found["ratio"] < 1
    # 3: on a busy machine even this difference may not be sure.
    assert ran.returncode == (1 if found["high"] < 0.95 else 3), ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("tiankong: ")
    assert found["notes"]
    assert found["generations"] >= 2


def test_compare_refuses_a_server_that_has_no_predict(tool: Any) -> None:
    with running(tool, "onnx-int8") as server:
        line = tool.refuses("compare", server.url + "/nowhere", server.url, *MODEL)
    assert "has no /predict (HTTP 404)" in line


@pytest.mark.skipif(
    shutil.which("git") is None or not (PROJECT / ".git").exists(), reason="not a git clone"
)
def test_compare_a_revision_with_what_is_here(tool: Any) -> None:
    tool_in_project = tool.at(PROJECT)
    asked = ("compare", "onnx-int8", "--rev", "HEAD", *MODEL, "--seconds", "10")
    found = tool_in_project.data(*asked)
    assert (found["a"], found["b"]) == ("onnx-int8 (HEAD)", "onnx-int8")
    assert found["verdict"] in VERDICTS
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = tool.artifacts / "revisions" / commit
    assert (folder / "artifacts" / "variants" / "builtin-small" / "onnx-int8").is_dir()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("compare", "onnx-int8", "nonsense"), "nonsense"),
        (("compare", "onnx-int8@speed=9"), "speed=9"),
        (("compare", "onnx-int8", "--rev", "no-such-revision"), "no-such-revision"),
        (("compare", "onnx-int8", "--fail-slower-than", "often"), "5% or 0.05"),
        (("capacity", "onnx-int8", "--slo", "fast"), "p95=100ms"),
        (
            ("capacity", "onnx-int8", "--slo", "p95=1s", "--workers", "2", "--bind", "x"),
            "HOST:PORT",
        ),
        (("worker", "--master", "nowhere"), "HOST:PORT"),
    ],
)
def test_one_line_and_exit_code_2(tool: Any, arguments: tuple[str, ...], part: str) -> None:
    model = () if arguments[0] == "worker" else MODEL
    assert part in tool.refuses(*arguments, *model)


def test_an_objective_that_nothing_can_hold(tool: Any) -> None:
    ran = tool.run("capacity", "onnx-int8", "--slo", "p50=0.01ms", *MODEL, "--probe", "1",
                   "--seconds", "2")  # fmt: skip
    last = ran.stderr.splitlines()[-1]
    # 3: on a busy machine even the probe of one user may stay invalid.
    said = {1: "does not hold p50=0.01ms", 3: "no verdict"}
    assert said[ran.returncode] in last, ran.stderr


def test_capacity_with_the_promised_shape(tool: Any) -> None:
    ran = tool.run("capacity", "onnx-int8", "--slo", "p50=5ms", *MODEL, "--probe", "1",
                   "--seconds", "2", "--json")  # fmt: skip
    assert ran.returncode in (0, 3), ran.stderr  # 3: a confirming run was disturbed
    if ran.returncode == 0:
        found = json.loads(ran.stdout)
        assert {"variant", "slo", "qps", "low", "high"} <= found.keys()
        assert found["low"] <= found["qps"] <= found["high"]
        run = read_run(Path(tool.home / found["run"]))
        confirming = [cell for cell in run.cells if cell.point.stage == "confirmation"]
        assert {cell.load.users for cell in confirming} >= {found["load"]}


def test_a_server_that_runs_already_is_swept(tool: Any) -> None:
    plan = tool.home / "target.toml"
    plan.write_text("levels = [2]\nrates = [20]\nseconds = 1\nwarmup_seconds = 0.3\n")
    with running(tool, "onnx-int8") as server:
        ran = tool.run("sweep", *MODEL, "--plan", str(plan), "--variants", "onnx-int8",
                       "--target", server.url, "--processes", "2", "--json")  # fmt: skip
    assert ran.returncode in (0, 3), ran.stderr
    cells = json.loads(ran.stdout)["cells"]
    assert {(cell["stack"], cell["mode"]) for cell in cells} == {
        ("target", "closed"),
        ("target", "open"),
    }
    assert all(cell["wrong"] == 0 and cell["qps"] > 5 for cell in cells)
