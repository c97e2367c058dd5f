"""Ctrl-C and SIGTERM in the middle: nothing half-made, nothing left running, then it goes on."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.gate.gold import BUILTIN
from tiankong.toolkit.runs.run_file import Cell, read_run

MODEL = ("--model", "builtin-small")
INTERRUPTED = 130
LIMIT = 90.0


def wait_for(true: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + LIMIT
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited too long"
        time.sleep(0.01)


def read_until(process: subprocess.Popen[str], part: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if part in line:
            return
    raise AssertionError(f"{part!r} was never printed")


def interrupt(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """Interrupt it as a terminal (the whole group) or a supervisor (one process) does."""
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
    else:
        process.send_signal(sent)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=40)
    assert process.returncode == INTERRUPTED, err
    assert "Traceback" not in err
    assert "tiankong: interrupted" in err


def half_made(folder: Path) -> list[Path]:
    found = [*folder.rglob("*.part"), *folder.rglob("*.old"), *folder.rglob(".*")]
    return sorted(set(found))


def test_build(own_tool: Any) -> None:
    tool = own_tool()
    asked = ("build", *MODEL, "--variants", "pytorch-fp32,onnx-int8")
    for sent, step in [(signal.SIGINT, "onnx-int8: export"), (signal.SIGTERM, "int8-static")]:
        process = tool.start(*asked)
        read_until(process, step)
        interrupt(process, sent)
        assert half_made(tool.artifacts) == []
        assert not tool.variant("onnx-int8").exists()
        assert tool.left_running() == []
    built = tool.data(*asked)["variants"]
    assert [(b["variant"], b["skipped"]) for b in built] == [
        ("pytorch-fp32", True),
        ("onnx-int8", False),
    ]


def write_plan(tool: Any) -> Path:
    plan: Path = tool.home / "tiny.toml"
    plan.write_text(
        "levels = [1, 2]\nseconds = 1\nwarmup_seconds = 0.3\n"
        'variants = ["onnx-int8"]\nyardstick = "onnx-int8"\n'
    )
    return plan


def write_gold(tool: Any) -> Path:
    gold: Path = tool.home / "short.jsonl"
    with BUILTIN.open(encoding="utf-8") as lines:
        gold.write_text("".join(itertools.islice(lines, 8)), encoding="utf-8")
    return gold


def test_sweep(own_tool: Any) -> None:
    tool = own_tool("onnx-int8", "pytorch-fp32")
    gold = str(write_gold(tool))
    checked = tool.run("check", *MODEL, "--gold", gold, "--variants", "onnx-int8", pinned=True)
    assert checked.returncode == 0
    asked = ("sweep", *MODEL, "--plan", str(write_plan(tool)), "--gold", gold, "--seed", "1")
    kept: tuple[Cell, ...] = ()
    for sent, cells in [(signal.SIGINT, 1), (signal.SIGTERM, 2)]:
        process = tool.start(*asked)
        read_until(process, f"sweep: {cells + 1}/4")
        wait_for(lambda: any("locust" in line for line in tool.left_running()), process)
        interrupt(process, sent)
        assert tool.left_running() == []
        (path,) = (tool.artifacts / "runs").iterdir()
        found = read_run(path).cells
        assert len(found) == cells
        assert found[: len(kept)] == kept
        kept = found
    ran = tool.run(*asked, "--json")
    assert ran.returncode in (0, 3), ran.stderr  # 3: this machine was busy while it measured
    assert "going on with" in ran.stderr
    assert list((tool.artifacts / "runs").iterdir()) == [path]
    after = read_run(path)
    assert after.cells[:2] == kept
    assert len({cell.point for cell in after.cells}) == len(after.cells) == 4
    assert [(cell.wrong, cell.failed) for cell in after.cells] == [(0, 0)] * 4


def begun_plotting(tool: Any, asked: tuple[str, ...]) -> subprocess.Popen[str]:
    """Return a report that is stopped where it plots, so that it cannot be done before a signal."""
    process: subprocess.Popen[str] = tool.start(*asked)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "kiwisolver" in maps.read_text(), process)
    process.send_signal(signal.SIGSTOP)
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_report(tool: Any, tmp_path: Path, run_file: Path, sent: signal.Signals) -> None:
    out = tmp_path / "pages"
    asked = ("report", str(run_file), "--out", str(out))
    interrupt(begun_plotting(tool, asked), sent)
    assert not out.exists() or half_made(out) == []
    ran = tool.run(*asked)
    assert ran.returncode == 0, ran.stderr
    names = {path.name for path in out.iterdir()}
    assert {"index.html", "index.zh.html", "report.md", "report.zh.md", "summary.json"} <= names
    assert half_made(out) == []
