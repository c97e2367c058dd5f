"""A user's own model file through the real command line: check, predict, sweep, report, export."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.gate.gold import HELDOUT
from tiankong.toolkit.runs.run_file import read_run

TEXT = "床前明月光,疑是地[MASK]霜。"
PLAN = "levels = [1]\nseconds = 1.5\nwarmup_seconds = 0.3\nyardstick = 'onnx-fp32'\n"


@pytest.fixture
def mine(tool: Any, own_tool: Callable[..., Any]) -> tuple[Any, tuple[str, ...]]:
    """A home without any variant, and the options that bring a file with a tokenizer."""
    home = own_tool()
    words = home.home / "my-bert"
    words.mkdir()
    shutil.copy(tool.variant("onnx-fp32") / "tokenizer.json", words)
    shutil.copy(tool.variant("onnx-int8") / "onnx" / "model_int8.onnx", words / "fast.onnx")
    (home.home / "plan.toml").write_text(PLAN)
    lines = HELDOUT.read_text(encoding="utf-8").splitlines()[:8]
    (home.home / "gold.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return home, ("--onnx", "my-bert/fast.onnx", "--tokenizer", "my-bert")


def test_check_sweep_and_report(mine: tuple[Any, tuple[str, ...]]) -> None:
    home, own = mine
    gold = ("--gold", "gold.jsonl")
    (found,) = home.data("check", *own, *gold, "--hit-at-5", "0.5")["variants"]
    assert (found["variant"], found["passed"], found["hit_at_1"]) == ("own-fast", True, 1.0)
    assert found["top1_agreement"] is None
    said = home.run("check", *own, *gold).stdout
    assert "not judged" in said
    assert "compared with no reference" in said
    ran = home.run("sweep", *own, *gold, "--plan", "plan.toml")
    assert ran.returncode in (0, 3), ran.stderr  # 3: a busy machine, not what this tests
    (path,) = (home.artifacts / "runs").glob("*.jsonl")
    run = read_run(path)
    assert run.header.model["name"] == "my-bert"
    entry = run.header.variants["own-fast"]
    assert (entry["notes"]["file"], len(entry["digest"])) == ("fast.onnx", 64)
    assert entry["notes"]["sha256"][:12] in entry["summary"]
    (cell,) = run.cells
    assert (cell.point.variant, cell.point.stack, cell.wrong) == ("own-fast", "reference", 0)
    assert len(cell.latencies_ms) > 10
    assert home.run("report", "--out", "pages").returncode == 0
    page = (home.home / "pages" / "report.md").read_text(encoding="utf-8")
    assert "brought: fast.onnx" in page
    assert "No variant can be recommended: own-fast was compared with no reference" in page
    assert "brought by its owner and compared with no reference" in page


def test_predict_and_what_does_not_go(mine: tuple[Any, tuple[str, ...]]) -> None:
    home, own = mine
    answer = home.data("predict", TEXT, *own)
    assert (answer["results"][0]["token"], answer["variant"]) == ("上", "own-fast")
    assert "leave out onnx-fp32" in home.refuses("predict", TEXT, *own, "--variant", "onnx-fp32")
    Path(home.home / "my-bert" / "fast.onnx").write_bytes(b"no model")
    assert "is no ONNX file" in home.refuses("predict", TEXT, *own)
    assert "go together" in home.refuses("check", *own[:2])
    assert "name it by --model" in home.refuses("sweep", *own, "--variants", "onnx-int8")


def test_export_for_triton(tool: Any, tmp_path: Path) -> None:
    asked = ("export", "--model", "builtin-small", "--triton")
    ran = tool.run(*asked, str(tmp_path / "models"), "--variants", "onnx-int8")
    assert ran.stdout.split() == [str(tmp_path / "models" / "onnx-int8")]
    text = (tmp_path / "models" / "onnx-int8" / "config.pbtxt").read_text(encoding="utf-8")
    assert 'name: "onnx-int8"' in text
    assert "pytorch-fp32 is a pytorch variant" in tool.refuses(
        *asked, str(tmp_path / "more"), "--variants", "pytorch-fp32"
    )
    assert json.loads((tmp_path / "models" / "onnx-int8" / "tokenizer.json").read_text("utf-8"))
