"""The micro-benchmarks run for real on the small model; ratios are taken in pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.bench.micro.ratios import BASELINE, Paired, markdown

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

ROOT = Path(__file__).parents[2]
MICRO = ("bench/micro", "-o", "python_files=bench_*.py", "-p", "no:cacheprovider")


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TIANKONG_ARTIFACTS": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def paired(seconds: list[float], baseline: list[float]) -> Paired:
    return Paired("engine", "mine", 4, 16, seconds, baseline)


def test_a_ratio_is_taken_inside_rounds() -> None:
    # The machine becomes ten times slower halfway: separate medians would give a wrong ratio.
    baseline = [2.0, 2.0, 2.0, 20.0, 20.0]
    ratio = paired([1.0, 1.0, 1.0, 10.0, 10.0], baseline).ratio()
    assert (ratio.ratio, ratio.low, ratio.high) == (2.0, 2.0, 2.0)
    assert (ratio.rounds, ratio.ms, ratio.baseline_ms) == (5, 1000.0, 2000.0)


def test_a_ratio_tells_its_spread() -> None:
    ratio = paired([1.0] * 9, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]).ratio()
    assert ratio.ratio == 1.4
    assert 1.0 <= ratio.low < 1.4 < ratio.high <= 1.8


def test_the_table_names_everything() -> None:
    text = markdown("builtin", [paired([1.0, 1.0], [2.0, 2.0]).ratio()])
    assert "| engine | mine | 4 | 16 | 2.00 (2.00–2.00) | 2 | 1000 | 2000 |" in text
    assert "local to this machine" in text
    mixed = Paired("predictor", "mine", 4, None, [1.0], [1.0]).ratio()
    assert "| mixed |" in markdown("builtin", [mixed])


def test_a_few_run_for_real(small_variants: dict[str, Built], tmp_path: Path) -> None:
    home = small_variants["onnx-int8"].folder.parents[2]
    results, ratios = tmp_path / "all.json", tmp_path / "all.ratios.json"
    ran = run(
        home, *MICRO, "--model", "builtin-small", "--variants", "onnx-int8", "--batches", "1,2",
        "--lengths", "8", "--seconds", "0.05", "--benchmark-max-time=0.05",
        f"--benchmark-json={results}", f"--ratios={ratios}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = json.loads(ratios.read_text(encoding="utf-8"))
    assert written["model"] == "builtin-small"
    assert written["baseline"] == BASELINE
    measured = [(r["what"], r["variant"], r["batch"], r["length"]) for r in written["ratios"]]
    assert sorted(measured, key=str) == [
        ("engine", "onnx-int8", 1, 8), ("engine", "onnx-int8", 2, 8),
        ("predictor", "onnx-int8", 1, None), ("predictor", "onnx-int8", 2, None),
    ]  # fmt: skip
    assert all(0 < r["low"] <= r["ratio"] <= r["high"] for r in written["ratios"])
    table = ratios.with_suffix(".md").read_text(encoding="utf-8")
    assert table in ran.stdout
    benchmarks = json.loads(results.read_text(encoding="utf-8"))["benchmarks"]
    assert {benchmark["extra_info"]["what"] for benchmark in benchmarks} == {
        "engine", "predictor", "tokenization",
    }  # fmt: skip
    for benchmark in benchmarks:
        if benchmark["extra_info"]["what"] != "tokenization":
            assert len(benchmark["extra_info"]["baseline_seconds"]) == len(
                benchmark["stats"]["data"]
            )


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--variants", "onnx-int9"), "unknown variant 'onnx-int9'"),
        (("--batches", "0"), "--batches '0': give numbers from 1"),
    ],
)
def test_unusable_input_is_one_line(arguments: tuple[str, ...], part: str, tmp_path: Path) -> None:
    ran = run(tmp_path, *MICRO, *arguments)
    assert ran.returncode not in (0, 5)
    assert part in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not list(tmp_path.iterdir())


def test_the_usual_run_does_not_collect_them(tmp_path: Path) -> None:
    ran = run(tmp_path, "bench", "--collect-only", "-p", "no:cacheprovider")
    assert ran.returncode == 5, ran.stdout  # 5: nothing to run
    assert "bench_engine" not in ran.stdout
