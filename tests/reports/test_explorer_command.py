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

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Header, read_run

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
    command = page.locator("#explorer-command").inner_text()
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
    command = page.locator("#explorer-command").inner_text()
    headline = page.locator("#answer-headline").inner_text()
    page.close()
    assert command == "tiankong report run.jsonl --prices own.toml --load 50"
    assert report(shlex.split(command)[1:], tmp_path) == f"answer: {headline}"


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.usefixtures("quick_plots")
def test_a_button_copies_the_commands_and_all_of_them_is_in_view(
    browser: Browser, make: Make, tmp_path: Path, allowed: bool
) -> None:
    write_pages([read_run(make(tmp_path / "run.jsonl", "r1"))], tmp_path / "out")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    if allowed:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    else:
        page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.goto((tmp_path / "out" / "index.html").as_uri() + "#slo=p99:500&load=12345&instances=3")
    for place in ("answer-command", "explorer-command"):
        commands = page.inner_text(f"#{place}")
        assert len(commands) > 50
        assert page.locator(f"#{place}").evaluate(HIDDEN) == [0, 0]
        page.click(f"[data-copies={place}]")
        told = page.locator(f"[data-copies={place}] + [role=status]")
        told.get_by_text("Copied" if allowed else "keyboard").wait_for()
        copied = "navigator.clipboard.readText()" if allowed else "getSelection().toString()"
        assert page.evaluate(copied) == commands
    page.close()


# How many pixels of a box have to be scrolled to.
HIDDEN = "(box) => [box.scrollWidth - box.clientWidth, box.scrollHeight - box.clientHeight]"
