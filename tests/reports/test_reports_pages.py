"""Pages: what a reader sees, in both languages, as HTML and as Markdown."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports import pages
from tiankong.reports.language import read_language
from tiankong.reports.pages import write_pages
from tiankong.reports.summary import markdown_table
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs import Cell, Run

NAMES = {
    "latency.svg",
    "cost.svg",
    "summary.json",
    "report.md",
    "report.zh.md",
    "index.html",
    "index.zh.html",
}
VOID = {"meta", "link", "img", "br"}


@pytest.fixture(autouse=True)
def _quick_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots have their own tests, and take a second each."""
    for plot in ("latency_plot", "cost_plot"):
        monkeypatch.setattr(pages, plot, lambda *_: "<svg xmlns='http://www.w3.org/2000/svg'/>")


class Reader(HTMLParser):
    """Reads a page as strictly as it was written: every tag closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes.setdefault(tag, found)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.links += [value for key, value in attrs if key in {"href", "src"} and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.words.append(data.strip())


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture
def doubtful(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    return make_run(
        cells=(
            make_cell("onnx-int8", "article", 1, 900),
            make_cell("onnx-int8", "article", 8, 60, wrong=2),
            make_cell("onnx-fp16", "article", 8, 60, failures={"<b>503</b>": 9}),
        )
    )


def test_every_file_is_written_and_named(make_run: Callable[..., Run], tmp_path: Path) -> None:
    written = write_pages([make_run()], tmp_path)
    assert {path.name for path in written} == NAMES == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(("name", "tag"), [("index.html", "en"), ("index.zh.html", "zh-CN")])
def test_html_parses_stands_alone_and_has_no_tofu(
    doubtful: Run, tmp_path: Path, name: str, tag: str
) -> None:
    write_pages([doubtful], tmp_path)
    page = read(tmp_path / name)
    assert page.attributes["html"]["lang"] == tag
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert link == "data:," or (tmp_path / link).is_file()
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert "\ufffd" not in text
    assert "503</b>" not in text.replace("&lt;b&gt;503&lt;/b&gt;", "")
    assert not re.search(r"\{\w*\}|None|nan\b|\binf\b", " ".join(page.words))


def figures_of(text: str) -> list[str]:
    """Every number of a text in order of size, whatever words stand around it."""
    return sorted(re.findall(r"\d+(?:\.\d+)?", re.sub(r"top-1", "", text, flags=re.IGNORECASE)))


def test_both_languages_carry_the_same_tables(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    chinese = (tmp_path / "report.zh.md").read_text(encoding="utf-8").splitlines()
    rows = [
        [figures_of(line) for line in lines if line.startswith("|")] for lines in (english, chinese)
    ]
    assert len(rows[0]) > 50
    assert rows[0] == rows[1]


def test_both_languages_carry_the_same_verdict(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    found = []
    for name, heading in (("report.md", "## Verdict"), ("report.zh.md", "## 结论")):
        text = (tmp_path / name).read_text(encoding="utf-8")
        found.append(figures_of(text.split(heading, 1)[1].split("##", 1)[0]))
    assert found[0] == found[1]


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
    assert "CNY 1.23 at" in text  # 700 / (216.2 x 2,628,000) x 1e6
    assert "160" not in text.split("## Variants")[0]


def test_too_few_and_wrong_answers_are_shown(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| too few |" in english
    assert "22 answers are too few for a P95. Try: measure longer" in english
    assert "2 wrong answers. Try: check the variant, then the server" in english
    chinese = (tmp_path / "report.zh.md").read_text(encoding="utf-8")
    assert "样本不足" in chinese
    assert "2 个回答是错的。建议：先查变体" in chinese
    assert "wrong answers" not in chinese


def test_every_warning_is_said_in_chinese(make_cell: Callable[..., Cell]) -> None:
    doubts = [
        make_cell("v", "s", 1, 900, wrong=1, failures={"503": 2}),
        make_cell(
            "v",
            "s",
            3,
            30,
            generator_core_percent=99.0,
            other_cpu_percent=50.0,
            steal_percent=9.0,
        ),
        make_cell("v", "s", 3, 30, latencies_ms=[1.0] * 300),
        make_cell("v", "s", 3, 30, latencies_ms=[]),
    ]
    codes = {warn.code for cell in doubts for warn in cell.warnings()}
    words = read_language("zh").words
    assert codes <= set(words["seen"])
    assert set(words["seen"]) == set(words["advice"])


def test_a_failed_variant_is_shown_and_never_recommended(
    make_run: Callable[..., Run],
    make_variant: Callable[..., dict[str, Any]],
    make_gate: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    variants = {
        "onnx-fp32": make_variant(409_000_000),
        "onnx-int8": make_variant(119_000_000, gate=make_gate(False)),
    }
    write_pages([make_run(variants=variants)], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "onnx-int8 is shown but not recommended: it failed the gate." in text
    assert "**failed** (top-1 agreement 0.910 is under 0.970)" in text
    assert "Deploy onnx-fp32" in text
    assert "Deploy onnx-int8" not in text
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["verdict"]["variant"] == "onnx-fp32"


def test_nothing_to_recommend_is_said(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    run = make_run({}, (make_cell("onnx-int8", "reference", 8, 50, wrong=1),))
    write_pages([run], tmp_path)
    assert "No variant can be recommended" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_currencies_are_never_mixed(make_run: Callable[..., Run], tmp_path: Path) -> None:
    write_pages([make_run()], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    yuan, dollars = text.split("Prices in CNY", 1)[1].split("Prices in USD", 1)
    assert "Alibaba" in yuan
    assert "AWS" not in yuan
    assert "Alibaba" not in dollars.split("\n- ", 1)[0]


def test_own_prices_take_the_place_of_the_shipped_ones(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    prices = tmp_path / "own.toml"
    prices.write_text(
        '[sources.me]\ntitle = "my invoice"\n[[price]]\ncloud = "Mine"\ntype = "box"\n'
        'kind = "quoted"\ncurrency = "EUR"\nper_month = 10\nvcpu = 2\n'
        'architecture = "x86_64"\nsource = "me"\n',
        encoding="utf-8",
    )
    write_pages([make_run()], tmp_path / "out", prices)
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "EUR 0.0238 at Mine box" in text  # 10 / (160 x 2,628,000) x 1e6
    assert "Alibaba" not in text


def test_the_summary_is_data_without_infinities(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    broken = make_cell("onnx-int8", "article", 8, 100, failures={"503": 400})
    write_pages([make_run(cells=(broken,))], tmp_path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "summary.json").read_text(encoding="utf-8")
    summary = json.loads(text, parse_constant=refuse)
    chosen = summary["verdict"]
    assert (chosen["variant"], chosen["users"]) == ("onnx-int8", 8)
    (point,) = [p for p in summary["points"] if p["variant"] == "onnx-int8" and not p["valid"]]
    assert point["p95_ms"]["median"] == "infinite"
    assert {cost["currency"] for cost in summary["costs"]} == {"CNY", "USD"}


def test_the_same_run_gives_the_same_bytes(make_run: Callable[..., Run], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_pages([make_run()], tmp_path / folder)
    for name in NAMES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


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
    assert "<script" not in (tmp_path / "index.html").read_text(encoding="utf-8")
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


def test_the_job_summary_is_one_small_table(doubtful: Run) -> None:
    text = markdown_table(doubtful)
    lines = text.splitlines()
    assert lines[0] == "**bert-base geometry, built in**, run 20260101-test"
    table = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert any("onnx-int8 (reference server) | 16 | 160 | 4.00 | 100 |" in line for line in table)
    assert "too few" in text
    assert "Deploy onnx-int8" in text


def test_nothing_heavy_is_imported_with_the_module() -> None:
    import subprocess

    code = (
        "import sys, tiankong.reports.pages, tiankong.reports.summary;"
        "print([n for n in ('matplotlib', 'jinja2', 'torch', 'locust') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
