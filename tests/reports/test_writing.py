"""Pages: what a reader sees, in both languages, as HTML and as Markdown."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from cells import changed

from tiankong.reports import writing as pages
from tiankong.reports.small_table import markdown_table
from tiankong.reports.text.language import read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs.run_file import Cell, Run
from tiankong.toolkit.runs.validity import _CHECKS, doubts

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
    for plot in ("latency_plot", "cost_plot", "scaling_plot"):
        monkeypatch.setattr(pages, plot, lambda *_: "<svg xmlns='http://www.w3.org/2000/svg'/>")


class Reader(HTMLParser):
    """Reads a page strictly: every tag must be closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.attributes: dict[str, dict[str, str | None]] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.attributes.setdefault(tag, attributes)
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
    """Every number of a text, sorted, without the words around it."""
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
    verdicts = []
    for name, heading in (("report.md", "## Verdict"), ("report.zh.md", "## 结论")):
        text = (tmp_path / name).read_text(encoding="utf-8")
        verdicts.append(figures_of(text.split(heading, 1)[1].split("##", 1)[0]))
    assert verdicts[0] == verdicts[1]


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


def doubtful_cells(make_cell: Callable[..., Cell]) -> list[Cell]:
    """Cells that together give every warning there is."""

    def changed_cell(**changes: Any) -> Cell:
        return make_cell("onnx-int8", "reference", 8, 80, **changes)

    steady = [80.0] * 2000
    stalled = [(place + 1) * 7.5 for place in range(2000)]  # nothing in the last quarter
    rising = [math.sqrt((place + 1) / 2000) * 20_000 for place in range(2000)]
    slowing = [60.0] * 1300 + [120.0] * 700
    return [
        changed_cell(wrong=1, failures={"503": 2}),
        changed_cell(changes=("kernel", "fingerprint")),
        changed_cell(
            generator_core_percent=81.0, generator_wait_percent=25.0, generator_late_ms=77.0
        ),
        changed_cell(throttled_percent=31.0, swapped_bytes=5 * 1024**2),
        changed_cell(other_cpu_percent=50.0, steal_percent=9.0),
        changed_cell(latencies_ms=[1.0] * 300),
        changed_cell(latencies_ms=[]),
        changed_cell(latencies_ms=steady, ends_ms=stalled),
        changed_cell(latencies_ms=steady, ends_ms=rising),
        changed_cell(latencies_ms=slowing, ends_ms=[(place + 1) * 10.0 for place in range(2000)]),
        make_cell("onnx-int8", "reference", 1, 900),
    ]


def test_every_warning_is_said_in_both_languages(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    cells = doubtful_cells(make_cell)
    codes = {warn.code for cell in cells for warn in doubts(cell)}
    words = read_language("zh").words
    assert codes == set(words["seen"]) == set(words["advice"])
    assert len(codes) == len(_CHECKS) + 1  # a check may say "no-requests" or "failures"

    write_pages([make_run({}, numbered(cells))], tmp_path)
    english = section(tmp_path / "report.md", "Warnings")
    chinese = section(tmp_path / "report.zh.md", "警告")
    assert "the closed loop's P99 of 80 ms hides it" in english
    assert "the generator's heartbeat was 77 ms late" in english
    assert "QPS in thirds" in english
    assert "P95 in thirds" in english
    for english_line, chinese_line in zip(english.splitlines(), chinese.splitlines(), strict=True):
        assert figures_of(english_line) == figures_of(chinese_line)
        assert chinese_line.count("此点无效") == english_line.count("This point is invalid")
    for word in ("heartbeat", "thirds", "waits", "swapped", "held", "Try"):
        assert word not in chinese


def numbered(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, numbered as repeats."""
    return tuple(changed(cell, repeat=number) for number, cell in enumerate(cells, start=1))


def section(path: Path, heading: str) -> str:
    """One section of a Markdown page."""
    text = path.read_text(encoding="utf-8")
    return text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_how_much_is_valid_is_said_at_the_top(doubtful: Run, tmp_path: Path) -> None:
    write_pages([doubtful], tmp_path)
    english = section(tmp_path / "report.md", "Verdict")
    assert "21 of 23 measured cells are valid. 2 points have no valid cell" in english
    assert "23 次单独测量中 21 次有效" in section(tmp_path / "report.zh.md", "结论")
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    assert table.count("**onnx-int8** (article's server; invalid)") == 1
    assert table.count("**onnx-fp16** (article's server; invalid)") == 1


def test_a_valid_run_says_nothing_of_broken_points(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    write_pages([make_run()], tmp_path)
    english = section(tmp_path / "report.md", "Verdict")
    assert "20 of 20 measured cells are valid." in english
    assert "no valid cell" not in english


@pytest.mark.parametrize(
    ("again", "said"),
    [
        ((1,), "1 cell was measured again (earlier"),
        ((1, 2, 2), "2 cells were measured again (earlier"),
    ],
)
def test_points_measured_again_are_counted(
    make_run: Callable[..., Run],
    make_cell: Callable[..., Cell],
    tmp_path: Path,
    again: tuple[int, ...],
    said: str,
) -> None:
    earlier = (
        make_cell("onnx-int8", "reference", 8, 50, repeat=repeat, steal_percent=9.0)
        for repeat in again
    )
    write_pages([replace(make_run(), superseded=tuple(earlier))], tmp_path)
    assert said in section(tmp_path / "report.md", "Warnings")
    assert f"有 {len(set(again))} 次测量重测过" in section(tmp_path / "report.zh.md", "警告")
    write_pages([make_run()], tmp_path)
    assert "again" not in section(tmp_path / "report.md", "Warnings")


@pytest.fixture
def repeated(make_run: Callable[..., Run], make_cell: Callable[..., Cell]) -> Run:
    cells = [
        make_cell(name, "reference", 8, latency, repeat=repeat)
        for name, latency in (("onnx-int8", 50.0), ("onnx-fp16", 51.0))
        for repeat, latency in enumerate((latency, latency * 1.04), start=1)
    ]
    return make_run({}, tuple(cells))


def test_repeats_show_their_intervals(repeated: Run, tmp_path: Path) -> None:
    write_pages([repeated], tmp_path)
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    row = next(line for line in table.splitlines() if line.startswith("| onnx-int8"))
    assert re.search(r"\| 8 \(2 repeats\) \| 157 \(14\d–17\d\) \|", row)
    assert "95 % intervals: Student's t" in table
    verdict = section(tmp_path / "report.md", "Verdict")
    assert "Too close to call: onnx-fp16" in verdict
    assert "the 95 % intervals of QPS overlap" in verdict
    assert "This point has no interval" not in verdict
    assert "| 8 (2 repeats) | 157 (14" in markdown_table(repeated)


def test_a_single_repeat_shows_none(make_run: Callable[..., Run], tmp_path: Path) -> None:
    write_pages([make_run()], tmp_path)
    table = section(tmp_path / "report.md", "Throughput, latency and CPU")
    assert "No interval is shown" in table
    assert "–" not in table.split("\n\n")[0].replace("| – |", "")
    assert "This point has no interval" in section(tmp_path / "report.md", "Verdict")


def test_columns_few_machines_know_are_shown_where_one_does(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    write_pages([make_run()], tmp_path / "without")
    without = (tmp_path / "without" / "report.md").read_text(encoding="utf-8")
    assert "Joules" not in without
    assert "of quota" not in without
    full = make_cell("onnx-int8", "article", 1, 50, server_quota_percent=93.0, joules=200.0)
    write_pages([make_run(cells=(full,))], tmp_path / "with")
    table = section(tmp_path / "with" / "report.md", "Throughput, latency and CPU")
    assert "Joules a request" in table
    row = next(line for line in table.splitlines() if line.startswith("| onnx-int8 (article"))
    assert "| 93 % |" in row
    assert "| 0.500 |" in row  # 200 J over 400 answers


PLAIN_ONLY = ("Throughput, latency and CPU", "The article", "Latency as", "What a million")


def test_a_run_of_the_scaling_plan_alone(
    make_run: Callable[..., Run], make_scaling: Callable[..., tuple[Cell, ...]], tmp_path: Path
) -> None:
    run = make_run({}, make_scaling())
    written = {path.name for path in write_pages([run], tmp_path)}
    assert written == (NAMES - {"latency.svg", "cost.svg"}) | {"scaling.svg"}
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "hold no closed-loop point over the gold set" in section(
        tmp_path / "report.md", "Verdict"
    )
    assert "## Scaling" in text
    assert "](scaling.svg)" in text
    assert not any(f"## {heading}" in text for heading in PLAIN_ONLY)
    for name in ("index.html", "index.zh.html"):
        for link in read(tmp_path / name).links:
            assert link == "data:," or (tmp_path / link).is_file()
    table = [line for line in markdown_table(run).splitlines() if line.startswith("|")]
    assert len(table) == 2 + 11
    assert any("1 user, 16 tokens, batches of 4 | 250 |" in line for line in table)


def test_a_run_of_open_loops_alone(
    make_run: Callable[..., Run], make_open_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    late = make_open_cell("onnx-int8", 80.0, 400, latencies_ms=[400.0] * 800)
    cells = (make_open_cell("onnx-int8", 40.0, 20), late)
    run = make_run({}, cells)
    written = {path.name for path in write_pages([run], tmp_path)}
    assert written == NAMES - {"latency.svg", "cost.svg"}
    table = section(tmp_path / "report.md", "Open loop: Poisson arrivals")
    rows = [line for line in table.splitlines() if line.startswith("| onnx-int8")]
    # Arrivals, answered, goodput within 130 ms, P50, P95, P99, sent late.
    assert "| 40 | 40.0 | 40.0 | 20.0 | 20.0 | 20.0 | 0.500 |" in rows[0]
    assert "| 80 | 40.0 | 0 | 400 | 400 | 400 |" in rows[1]
    assert "80 arrivals a second" in markdown_table(run)
    assert "arrivals a second: 40, 80" in section(tmp_path / "report.md", "How it was measured")


def test_every_kind_of_point_on_one_page(
    make_run: Callable[..., Run],
    make_scaling: Callable[..., tuple[Cell, ...]],
    make_open_cell: Callable[..., Cell],
    tmp_path: Path,
) -> None:
    cells = (*make_scaling(), make_open_cell("onnx-int8", 40.0, 20, tokens=16))
    written = {path.name for path in write_pages([make_run(cells=cells)], tmp_path)}
    assert written == NAMES | {"scaling.svg"}
    english, chinese = tmp_path / "report.md", tmp_path / "report.zh.md"
    for heading, other in (
        ("Open loop: Poisson arrivals", "开环：泊松到达"),
        ("Scaling: sentence length, batch, cores, concurrency", "扩展性：句长、批量、核心、并发"),
    ):
        assert figures_of(section(english, heading)) == figures_of(section(chinese, other))
    measured = section(english, "Throughput, latency and CPU")
    assert len([line for line in measured.splitlines() if line.startswith("|")]) == 2 + 20

    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["points"]) == 20 + 11 + 1
    assert summary["cells"] == {"measured": 32, "valid": 32, "superseded": 0}
    (batch,) = [point for point in summary["points"] if point["batch"] == 4]
    assert (batch["mode"], batch["users"], batch["tokens"], batch["cores"]) == (
        "closed",
        1,
        16,
        None,
    )
    assert batch["qps"]["value"] == 62.5
    assert batch["sentences_per_second"]["value"] == 250
    assert batch["p99_ms"]["value"] == 16
    (arriving,) = [point for point in summary["points"] if point["mode"] == "open"]
    assert (arriving["rate"], arriving["goodput"], arriving["late_p99_ms"]) == (40, 40, 0.5)
    assert [axis["axis"] for axis in summary["scaling"]] == ["tokens", "batch", "cores", "users"]
    assert summary["scaling"][1] == {
        "axis": "batch",
        "levels": [1, 2, 4],
        "fixed": {"users": 1, "tokens": 16, "cores": None},
        "series": [{"variant": "onnx-int8", "stack": "reference"}],
    }


def test_intervals_stand_in_the_summary(repeated: Run, tmp_path: Path) -> None:
    write_pages([repeated], tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    point = next(point for point in summary["points"] if point["variant"] == "onnx-int8")
    assert point["qps"]["low"] < point["qps"]["value"] < point["qps"]["high"]
    assert point["p95_ms"]["low"] < point["p95_ms"]["value"] < point["p95_ms"]["high"]
    (rival,) = summary["verdict"]["too_close"]
    assert rival["overlapping"] is True


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
    assert point["p95_ms"] == {"value": "infinite", "low": None, "high": None}
    assert summary["format"] == 2
    assert {cost["currency"] for cost in summary["costs"]} == {"CNY", "USD"}


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
        "import sys, tiankong.reports.writing, tiankong.reports.data;"
        "print([n for n in ('matplotlib', 'jinja2', 'torch', 'locust') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
