"""Pages: what a reader sees, in both languages, as HTML and as Markdown."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import CHINESE, NAMES, figures_of, read

from tiankong.reports import writing as pages
from tiankong.reports.writing import write_pages
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import package_path
from tiankong.toolkit.runs.run_file import Run

pytestmark = pytest.mark.usefixtures("quick_plots")


def test_every_file_is_written_and_named(make_run: Callable[..., Run], tmp_path: Path) -> None:
    written = write_pages([make_run()], tmp_path)
    names = {path.name for path in written}
    assert names - CHINESE == NAMES
    assert names == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("name", "tag"), [("index.html", "en"), ("index.zh.html", "zh-CN")])
def test_html_parses_stands_alone_and_has_no_tofu(
    doubtful: Run, tmp_path: Path, name: str, tag: str
) -> None:
    write_pages([doubtful], tmp_path)
    page = read(tmp_path / name)
    assert page.attributes["html"]["lang"] == tag
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        inside = link.startswith("#") and link[1:] in page.ids
        assert link == "data:," or inside or (tmp_path / link).is_file()
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "\ufffd" not in text
    assert "503</b>" not in text.replace("&lt;b&gt;503&lt;/b&gt;", "")
    assert not re.search(r"\{\w*\}|None|nan\b|\binf\b", " ".join(page.words))


def test_both_languages_carry_the_same_tables(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    chinese = (tmp_path / "report.zh.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [figures_of(line) for line in lines if line.startswith("|")] for lines in (english, chinese)
    ]
    assert len(rows[0]) > 50
    assert rows[0] == rows[1]


def test_both_languages_carry_the_same_answer(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    answers = []
    for name, heading in (("report.md", "## The answer"), ("report.zh.md", "## 结论")):
        text = (tmp_path / name).read_text(encoding="utf-8")
        answers.append(sorted(figures_of(text.split(heading, 1)[1].split("##", 1)[0])))
    assert answers[0] == answers[1]


def test_html_and_markdown_carry_the_same_cells(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    words = " ".join(read(tmp_path / "index.html").words)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8").replace("\\", "")
    for figure in ("160", "4.00", "1.66", "0.677", "47.6", "97.4", "284.70", "700.00"):
        assert figure in words
        assert figure in markdown


def test_changed_latencies_change_every_derived_figure(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    write_pages([make_run({("onnx-int8", "reference"): {8: 37}})], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "216" in text  # 8 / 0.037
    assert "37.0" in text
    assert "for 151 requests/s" in text  # 8 / 0.037 less 30 %, rounded down
    assert "A million requests cost ¥3.53" in text  # 700 / (151 x half of 2,628,000 s) x 1e6
    assert "160" not in text.split("## Variants")[0]


def test_too_few_and_wrong_answers_are_shown(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| too few |" in english
    assert "| 22 answers are too few for a P95 |" in english
    assert "| 2 wrong answers |" in english
    assert "wrong answers (1). Try: check the variant, then the server" in english
    chinese = (tmp_path / "report.zh.md").read_text(encoding="utf-8")
    assert "样本不足" in chinese
    assert "| 2 个回答是错的 |" in chinese
    assert "答错（1 条）。建议：先查变体" in chinese
    assert "wrong answers" not in chinese


def test_the_same_run_gives_the_same_bytes(make_run: Callable[..., Run], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_pages([make_run()], tmp_path / folder)
    for name in NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_plot_of_earlier_runs_is_removed(make_run: Callable[..., Run], tmp_path: Path) -> None:
    (tmp_path / "scaling.svg").write_text("<svg/>")
    (tmp_path / "mine.svg").write_text("<svg/>")
    write_pages([make_run()], tmp_path)
    assert not (tmp_path / "scaling.svg").exists()
    assert (tmp_path / "mine.svg").exists()
    assert (tmp_path / "cost.svg").exists()


def test_a_page_that_cannot_be_made_leaves_the_old_ones(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pages([make_run()], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(pages, "_print", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_pages([make_run({("onnx-int8", "reference"): {8: 37}})], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interrupted_write_leaves_the_old_page_whole(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pages([make_run()], tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(self: Path, target: Path) -> Path:
        raise OSError(28, f"No space left on device: {self} -> {target}")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_pages([make_run({("onnx-int8", "reference"): {8: 37}})], tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_refused_run_writes_nothing(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError):
        write_pages([make_run({})], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_hostile_text_stays_text(make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run()
    model = {**run.header.model, "title": "<script>alert(1)</script> | *x*", "caveat": ""}
    write_pages([make_run(model=model)], tmp_path)
    assert "<script>alert" not in (tmp_path / "index.html").read_text(encoding="utf-8")
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "\\<script\\>" in markdown
    assert "Mind:" not in markdown


def test_a_text_of_the_run_in_the_pages_language_is_preferred(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    model = {**make_run().header.model, "caveat_zh": "由小模型生长而成。"}
    write_pages([make_run(model=model)], tmp_path)
    assert "由小模型生长而成" in (tmp_path / "index.zh.html").read_text(encoding="utf-8")
    assert "Grown from" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_pages_do_without_the_slow_half_of_scipy() -> None:
    import subprocess

    pages = package_path("reports/pages")
    code = (
        "import sys, tempfile, tiankong;"
        f"tiankong.report([{str(pages / 'run.jsonl')!r}], tempfile.mkdtemp());"
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_nothing_heavy_is_imported_with_the_module() -> None:
    import subprocess

    code = (
        "import sys, tiankong.reports.writing, tiankong.reports.data;"
        "print([n for n in ('matplotlib', 'jinja2', 'torch', 'locust') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
