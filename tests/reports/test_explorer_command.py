"""The command that the explorer shows: run in the page's folder, it answers as the page does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from explored import OWN_PRICES
from large_run import large_run

from tiankong.toolkit.runs.run_file import Header

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    Make = Callable[[Path, str], Path]

HOME = {"TIANKONG_ARTIFACTS": "made"}  # relative: in the folder where a command is run


@pytest.fixture
def make(make_header: Callable[..., Header]) -> Make:
    def made(path: Path, run: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return large_run(path, make_header(run=run), 3, ("reference",), (1, 4, 8), 3, answers=400)

    return made


def report(words: Iterable[str], folder: Path) -> str:
    """Run a report's command in a folder; return the answer that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tiankong", *words],
        cwd=folder, env=os.environ | HOME, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("answer: "))


@pytest.mark.parametrize("question", ["", "#slo=p99:210&load=77&instances=3&headroom=12.5"])
def test_the_command_answers_as_the_page_does(
    browser: Browser, make: Make, tmp_path: Path, question: str
) -> None:
    first, second = make(tmp_path / "a" / "第 1 次.jsonl", "r1"), make(tmp_path / "-b.jsonl", "r2")
    gpu, out = make(tmp_path / "gpu" / first.name, "g"), tmp_path / "out"
    given = [f"../{first.parent.name}/{first.name}", f"../{second.name}"]
    beside = ["--gpu", f"../gpu/{gpu.name}", "--gpu-price", "ecs.gn6i-c4g1.xlarge", "--out", "."]
    out.mkdir()
    report(["report", *given, *beside, "--load", "50"], out)
    page = browser.new_page()
    page.goto((out / "index.html").as_uri() + question)
    command = page.locator("#explorer-command").input_value()
    headline = page.locator("#answer-headline").inner_text()
    lines = page.locator("#answer-lines dd").all_text_contents()
    page.close()
    tool, *words = shlex.split(command)
    assert tool == "tiankong"
    assert words[1:5] == ["第 1 次.jsonl", "./-b.jsonl", "--gpu", "第 1 次-2.jsonl"]
    assert report(words, out) == f"answer: {headline}"
    page = browser.new_page()
    page.goto((out / "made" / "pages" / "index.html").as_uri())
    assert page.locator("#answer-lines dd").all_text_contents() == lines
    page.close()


def test_the_command_names_the_readers_own_prices(
    browser: Browser, make: Make, tmp_path: Path
) -> None:
    run, prices = make(tmp_path / "run.jsonl", "r1"), tmp_path / "own.toml"
    prices.write_text(OWN_PRICES, encoding="utf-8")
    report(["report", run.name, "--prices", prices.name, "--out", "."], tmp_path)
    page = browser.new_page()
    page.goto((tmp_path / "index.html").as_uri() + "#load=50")
    command = page.locator("#explorer-command").input_value()
    headline = page.locator("#answer-headline").inner_text()
    page.close()
    assert command == "tiankong report run.jsonl --prices own.toml --load 50"
    assert report(shlex.split(command)[1:], tmp_path) == f"answer: {headline}"
