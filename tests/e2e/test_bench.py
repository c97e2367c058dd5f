"""The main job in one command, and its page in a real browser."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiankong.toolkit.gate.gold import BUILTIN
from tiankong.toolkit.runs.load import Load
from tiankong.toolkit.runs.point import Point
from tiankong.toolkit.runs.run_file import read_run
from tiankong.toolkit.runs.validity import is_disturbed, is_valid

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def pages(tool: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of ``tiankong bench`` under a plan of two cells."""
    folder = tmp_path_factory.mktemp("bench")
    plan, gold, out = folder / "tiny.toml", folder / "short.jsonl", folder / "pages"
    plan.write_text(
        'model = "builtin-small"\nvariants = ["onnx-int8"]\nlevels = [1]\n'
        'seconds = 1\nwarmup_seconds = 0.3\nyardstick = "onnx-fp32"\n'
    )
    with BUILTIN.open(encoding="utf-8") as lines:
        gold.write_text("".join(itertools.islice(lines, 8)), encoding="utf-8")
    ran = tool.run("bench", "--plan", str(plan), "--gold", str(gold), "--out", str(out))
    assert ran.returncode in (0, 3), ran.stderr  # 3: this machine was busy while it measured
    assert "onnx-int8" in ran.stdout
    assert f"begin with {out / 'index.html'}" in ran.stderr
    return out


def test_bench_writes_pages_from_complete_cells(tool: Any, pages: Path) -> None:
    names = {path.name for path in pages.iterdir()}
    assert {"index.html", "index.zh.html", "report.md", "report.zh.md", "summary.json"} <= names
    run = read_run(max((tool.artifacts / "runs").glob("*-tiny-*.jsonl")))
    assert {cell.point for cell in run.cells} == {
        Point("onnx-int8", "reference", Load(1)),
        Point("onnx-fp32", "article", Load(1)),
    }
    assert all(is_valid(cell) or is_disturbed(cell) for cell in run.cells)


def test_report_writes_the_newest_run_again(tool: Any, pages: Path, tmp_path: Path) -> None:
    ran = tool.run("report", "--out", str(tmp_path / "again"))
    assert ran.returncode == 0, ran.stderr
    again = (tmp_path / "again" / "summary.json").read_text(encoding="utf-8")
    assert again == (pages / "summary.json").read_text(encoding="utf-8")
    assert "onnx-int8" in tool.run("report", "--markdown").stdout


def test_the_page_opens_clean(pages: Path, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((pages / "index.html").as_uri())
    assert complaints == []
    home = pages.as_uri()
    assert [url for url in requests if not url.startswith((home, "data:"))] == []
    assert page.locator("h1").count() == 1
    text = page.locator("body").text_content() or ""  # of folded parts too
    assert "builtin-small" in text
    assert "onnx-int8" in text
    page.locator("#cost summary").first.click()
    drawn = page.locator("#cost svg").bounding_box()
    assert drawn is not None
    assert drawn["width"] > 200
    assert page.locator("#explorer-plot svg").count() == 1
    page.close()
