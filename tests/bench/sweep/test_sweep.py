from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cells import sealed

import tiankong.bench.sweep.sweep as sweeping
from tiankong.bench.sweep.plan import Grid, Plan
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import Cell, read_run
from tiankong.toolkit.runs.stages import STAGES

PLAN = Plan("tiny", (Grid((1, 2)),), 1.0, 0.3, yardstick="onnx-fp32")
NAMES = ("onnx-fp32", "onnx-int8")
ROWS = [("onnx-fp32", "reference"), ("onnx-int8", "reference"), ("onnx-fp32", "article")]
POINTS = {Point(*row, Load(users)) for row in ROWS for users in (1, 2)}


@pytest.fixture(scope="module")
def measured(measuring_home: Any) -> Path:
    """The run file of a real sweep over both stacks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIANKONG_ARTIFACTS", str(measuring_home.folder))
        variants = [measuring_home.variants[name] for name in NAMES]
        return sweeping.sweep(PLAN, variants, measuring_home.gold, seed=3)


@pytest.fixture
def unmeasured(measured: Path, monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    """Replace measuring by copies of measured cells; return the list of the points requested."""
    cells = {cell.point: cell for cell in read_run(measured).cells}
    asked: list[Point] = []

    def fake(_: object, point: Point, *__: object) -> Cell:
        asked.append(point)
        return replace(cells[point], started="again")

    monkeypatch.setattr(sweeping.Ground, "measure", fake)
    return asked


@pytest.fixture
def again(home: Any, measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sweeps again, in a folder of runs that only this test uses."""
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / measured.name).write_bytes(measured.read_bytes())
    monkeypatch.setattr(sweeping, "runs_folder", lambda: runs)

    def sweep(plan: Plan = PLAN) -> Path:
        return sweeping.sweep(plan, [home.variants[name] for name in NAMES], home.gold, seed=9)

    sweep.file = runs / measured.name  # type: ignore[attr-defined]
    return sweep


def cut(path: Path, cells: int) -> None:
    """Keep the header, some cells and half of the next one."""
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: 1 + cells]) + lines[1 + cells][:40])


def test_every_cell_is_complete(measured: Path) -> None:
    run = read_run(measured)
    assert {cell.point for cell in run.cells} == POINTS
    assert len(run.cells) == len(POINTS)
    for cell in run.cells:
        assert (cell.wrong, cell.failures, cell.examples) == (0, {}, [])
        assert len(cell.latencies_ms) > 5
        assert cell.seconds == pytest.approx(1.0, abs=0.3)
        assert cell.server_cpu_percent > 0
        assert cell.generator_cpu_percent > 0
        assert cell.resident_bytes > 20e6
        assert cell.proportional_bytes is not None
        assert 0 < cell.proportional_bytes <= cell.resident_bytes
        assert cell.start_seconds > 0
        assert cell.settings["threads"] >= 1
        # The stages are the server's own time: the client sees them, and more.
        if cell.point.stack == "reference":
            assert tuple(cell.stages) == STAGES
            assert all(ms > 0 for ms in cell.stages.values())
            assert sum(cell.stages.values()) < max(cell.latencies_ms)
    article = next(cell for cell in run.cells if cell.point.stack == "article")
    assert article.stages == {}  # it does not tell
    assert article.settings == {"workers": 2, "threads": 4}


def test_the_order_is_the_seeds(measured: Path) -> None:
    run = read_run(measured)
    assert run.header.seed == 3
    assert list(run.header.command) == []  # begun from Python, not by the command
    assert [cell.point for cell in run.cells] == PLAN.points(list(run.header.variants), 3)


def test_an_interrupted_run_is_continued(again: Any, unmeasured: list[Point]) -> None:
    before = read_run(again.file)
    cut(again.file, 2)
    assert again() == again.file
    after = read_run(again.file)
    assert after.header == before.header
    assert after.cells[:2] == before.cells[:2]
    points = [cell.point for cell in after.cells]
    assert len(points) == len(set(points)) == len(POINTS)
    assert unmeasured == points[2:]
    assert points == [cell.point for cell in before.cells]


def test_a_finished_run_is_not_continued(again: Any, unmeasured: list[Point]) -> None:
    before = again.file.read_bytes()
    assert again() != again.file
    assert len(unmeasured) == len(POINTS)
    assert again.file.read_bytes() == before


def change_machine(header: dict[str, Any]) -> None:
    header["machine"]["cpu"] = "another"


def change_plan(header: dict[str, Any]) -> None:
    header["plan"]["seconds"] = 2.0


def change_digest(header: dict[str, Any]) -> None:
    header["variants"]["onnx-int8"]["digest"] = "0" * 64


def change_version(header: dict[str, Any]) -> None:
    header["versions"]["onnxruntime"] = "0.1"


@pytest.mark.parametrize("change", [change_machine, change_plan, change_digest, change_version])
def test_a_run_of_something_else_is_left_alone(
    again: Any, unmeasured: list[Point], change: Callable[[dict[str, Any]], None]
) -> None:
    cut(again.file, 2)
    *whole, torn = again.file.read_text(encoding="utf-8").split("\n")
    header, *rest = map(json.loads, whole)
    change(header)
    text = sealed([header, *rest]) + torn
    again.file.write_text(text, encoding="utf-8")
    new = again()
    assert new != again.file
    assert again.file.read_text(encoding="utf-8") == text
    assert {cell.point for cell in read_run(new).cells} == POINTS


def test_an_unreadable_run_is_passed_over(
    again: Any, unmeasured: list[Point], capsys: pytest.CaptureFixture[str]
) -> None:
    again.file.write_text("rubbish\n")
    assert again() != again.file
    assert "passing over an unreadable run" in capsys.readouterr().err


def test_a_missing_yardstick_or_no_variant_is_said(home: Any) -> None:
    only = [home.variants["onnx-int8"]]
    with pytest.raises(UnusableInputError, match="onnx-fp32 for the article's server"):
        sweeping.sweep(PLAN, only, home.gold)
    with pytest.raises(UnusableInputError, match="no variant to sweep"):
        sweeping.sweep(PLAN, [], home.gold)


def test_a_variant_that_was_never_asked_leaves_no_run_file(
    home: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    variants = [home.variants[name] for name in NAMES]
    with pytest.raises(UnusableInputError, match="tiankong check"):
        sweeping.sweep(PLAN, variants, home.gold)
    assert list(tmp_path.rglob("*.jsonl")) == []
