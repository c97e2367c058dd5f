"""The real command line in subprocesses, in a home with copies of the built variants."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import Cell, Header, append_cell, create_run

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

MODEL = ("--model", "builtin-small")


def pin() -> None:
    """Run on one core: PyTorch's threads wait long for each other where cores are busy."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def prepare(pinned: bool) -> None:
    """Take interrupts as in a terminal, even if this test run was told to ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if pinned:
        pin()


class Tool:
    """``python -m tiankong`` with its own artifacts and current folder."""

    def __init__(self, home: Path, folder: Path | None = None) -> None:
        self.home = home
        self.folder = folder or home
        self.environment = os.environ | {"TIANKONG_ARTIFACTS": str(home / "artifacts")}

    @property
    def artifacts(self) -> Path:
        return self.home / "artifacts"

    def at(self, folder: Path) -> Tool:
        """Return a tool with the same home and another current folder."""
        return Tool(self.home, folder)

    def variant(self, name: str) -> Path:
        return self.artifacts / "variants" / "builtin-small" / name

    def start(self, *arguments: str, pinned: bool = False) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tiankong", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            preexec_fn=partial(prepare, pinned),
        )

    def run(self, *arguments: str, pinned: bool = False) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, pinned=pinned)
        out, err = process.communicate(timeout=150)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def data(self, *arguments: str, code: int = 0, pinned: bool = False) -> Any:
        """Return the one JSON object a command prints."""
        ran = self.run(*arguments, "--json", pinned=pinned)
        assert ran.returncode == code, ran.stderr
        return json.loads(ran.stdout)

    def refuses(self, *arguments: str, code: int = 2) -> str:
        """Return the one line on standard error of a command that cannot do what is asked."""
        ran = self.run(*arguments)
        assert ran.returncode == code, ran.stderr
        assert ran.stdout == ""
        # A line about variants that this machine cannot have is always printed.
        lines = [line for line in ran.stderr.splitlines() if not line.startswith("skipped: ")]
        assert len(lines) == 1, ran.stderr
        assert lines[0].startswith("tiankong: "), ran.stderr
        return lines[0]

    def left_running(self) -> list[list[str]]:
        """Return the command lines of processes that still run for this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.environ().get("TIANKONG_ARTIFACTS") == str(self.artifacts):
                    found.append(process.cmdline())
            except psutil.Error:
                continue
        return [line for line in found if "pytest" not in " ".join(line)]


@pytest.fixture(scope="session")
def tool(
    small_variants: Mapping[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tool]:
    """A home that tests only read (except for gate results and stored answers)."""
    made = Tool(tmp_path_factory.mktemp("home"))
    folder = next(iter(small_variants.values())).folder.parent
    shutil.copytree(folder, made.artifacts / "variants" / "builtin-small")
    yield made
    assert made.left_running() == []


@pytest.fixture
def own_tool(tool: Tool, tmp_path: Path) -> Callable[..., Tool]:
    """Return a function that makes a home of the test's own with copies of some variants."""

    def make(*variants: str) -> Tool:
        made = Tool(tmp_path)
        made.artifacts.mkdir()
        for name in variants:
            shutil.copytree(tool.variant(name), made.variant(name))
        return made

    return make


@pytest.fixture(scope="session")
def checked(tool: Tool) -> Any:
    """What ``check --json`` says about every variant on the built-in gold set."""
    ran = tool.run("check", *MODEL, "--json", pinned=True)
    found = json.loads(ran.stdout)
    passed = all(entry["passed"] for entry in found["variants"])
    assert ran.returncode == (0 if passed else 1), ran.stderr
    return found


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    """A made-up run of two cells."""
    header = Header(
        run="made-up",
        started="2026-01-01T00:00:00+00:00",
        tool="0.1.0",
        model={"name": "builtin-small", "parameters": 1, "layers": 4, "hidden": 256,
               "heads": 4, "intermediate": 1024, "vocabulary": 7000, "positions": 512},
        gold={"name": "gold.jsonl", "sha256": "0" * 64, "items": 16},
        plan={"name": "tiny", "levels": [1, 2], "seconds": 1.0, "warmup_seconds": 0.3,
              "repeats": 1},
        seed=1,
        machine={"cpu": "Test", "architecture": "x86_64", "isa": [], "logical_cpus": 2,
                 "usable_cores": 2, "threads_per_core": None, "cgroup_quota_cores": None,
                 "memory_bytes": 8 * 1024**3, "kernel": "Linux 6", "hypervisor": True,
                 "python": "3.11.2"},
        versions={"tiankong": "0.1.0"},
        variants={"onnx-int8": {"digest": "1" * 64, "size": 7_000_000, "engine": "onnxruntime",
                                "model_file_size": 6_900_000, "summary": "x", "notes": {},
                                "gate": None}},
    )  # fmt: skip
    path = tmp_path / "made-up.jsonl"
    create_run(path, header)
    for users in (1, 2):
        latencies = [5.0 * users] * 200
        point = Point("onnx-int8", "reference", Load(users))
        append_cell(path, Cell(point, 1.0, latencies, "now"))
    return path
