"""toolkit/runs.py: run files whole, torn and garbled; figures and warnings of a cell."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.runs import Cell, Header, append_cell, create_run, read_run

HEADER = Header(
    run="r1",
    started="2026-01-01T00:00:00+00:00",
    tool="tiankong 0.1.0",
    model={"name": "内置"},
    gold={"name": "gold.jsonl"},
    plan={"users": [1, 4]},
    seed=7,
    machine={"cpu": "x"},
    versions={"numpy": "2"},
    variants={"onnx-int8": {"digest": "ab", "size": 1}},
)
# 1 user, 10 ms each, 1000 answers in 10 seconds: Little's law holds, nothing to doubt.
CELL = Cell("onnx-int8", "reference", 1, 10.0, (10.0,) * 1000, "2026-01-01T00:00:05+00:00")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run file with a header."""
    path = tmp_path / "runs" / "r1.jsonl"
    create_run(path, HEADER)
    return path


def listed(cell: Cell) -> Cell:
    """The cell as JSON gives it back: lists for tuples."""
    return replace(cell, latencies_ms=list(cell.latencies_ms), examples=list(cell.examples))


def test_roundtrip(path: Path) -> None:
    other = replace(CELL, users=4, failures={"503": 2}, wrong=1, examples=("上→下",))
    append_cell(path, CELL)
    append_cell(path, other)
    run = read_run(path)
    assert run.header == HEADER
    assert run.cells == (listed(CELL), listed(other))
    assert run.cells[1].key == ("onnx-int8", "reference", 4, 1)
    assert path.read_bytes().count(b"\n") == 3


def test_latencies_come_back_to_the_last_bit(path: Path) -> None:
    values = [0.1 + 0.2, 1e-9, 12345.678901234567]
    append_cell(path, replace(CELL, latencies_ms=values))
    assert read_run(path).cells[0].latencies_ms == values


def test_a_run_is_never_overwritten(path: Path) -> None:
    with pytest.raises(UnusableInputError, match="exists already"):
        create_run(path, HEADER)
    assert read_run(path).cells == ()


@pytest.mark.parametrize("torn", ['{"kind":"cell","vari', "{", '{"kind":"cell","variant":"字'])
def test_a_torn_last_line_is_left_out_then_cut(path: Path, torn: str) -> None:
    append_cell(path, CELL)
    whole = path.read_bytes()
    path.write_bytes(whole + torn.encode()[: len(torn.encode()) - 1])
    assert read_run(path).cells == (listed(CELL),)
    append_cell(path, replace(CELL, users=2))
    assert path.read_bytes().startswith(whole + b'{"kind":"cell"')
    assert [cell.users for cell in read_run(path).cells] == [1, 2]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("garbage", "Expecting value"),
        ("", "Expecting value"),
        ("[]", ""),
        ("{}", "kind"),
        ('{"kind":"cell"}', "missing"),
        ('{"kind":"cell","new":1}', "new"),
        ('{"kind":"run","format":1}', "no place here"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(path: Path, line: str, reason: str) -> None:
    append_cell(path, CELL)
    with path.open("a") as stream:
        stream.write(line + "\n")
    append_cell(path, CELL)
    with pytest.raises(UnusableInputError, match=rf"r1\.jsonl, line 3: .*{reason}"):
        read_run(path)


def test_files_without_a_header(tmp_path: Path, path: Path) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "torn").write_text('{"kind":"run"')
    for name in ("empty", "torn"):
        with pytest.raises(UnusableInputError, match="has no header"):
            read_run(tmp_path / name)
    append_cell(path, CELL)
    (tmp_path / "cut").write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(UnusableInputError, match="line 1: a 'cell' line has no place here"):
        read_run(tmp_path / "cut")
    with pytest.raises(UnusableInputError, match="cannot be read"):
        read_run(tmp_path / "none")


def test_another_format_is_refused(path: Path) -> None:
    path.write_text(path.read_text().replace('"format":1', '"format":9'))
    with pytest.raises(UnusableInputError, match="format 9, this version reads 1"):
        read_run(path)


def test_identity_leaves_out_name_time_seed_and_gate() -> None:
    again = replace(
        HEADER,
        run="r2",
        started="later",
        seed=8,
        variants={"onnx-int8": {"digest": "ab", "size": 1, "gate": {"passed": True}}},
    )
    assert again.identity() == HEADER.identity()
    for change in (
        {"model": {"name": "other"}},
        {"machine": {"cpu": "y"}},
        {"variants": {"onnx-int8": {"digest": "cd"}}},
    ):
        assert replace(HEADER, **change).identity() != HEADER.identity()


def test_figures_of_a_cell() -> None:
    assert (CELL.qps, CELL.mean_ms, CELL.percentile_ms(95)) == (100.0, 10.0, 10.0)
    assert (CELL.failed, CELL.warnings(), CELL.valid) == (0, [], True)


def test_failures_and_wrong_answers_are_infinitely_slow() -> None:
    failing = replace(CELL, failures={"503": 40, "timeout": 20})
    assert failing.failed == 60
    assert failing.percentile_ms(50) == 10.0
    assert failing.percentile_ms(95) == math.inf
    assert replace(CELL, wrong=60).percentile_ms(95) == math.inf


def test_too_few_answers_have_no_percentile() -> None:
    few = replace(CELL, seconds=1.29, latencies_ms=(10.0,) * 129)
    assert few.percentile_ms(95) is None
    assert few.percentile_ms(50) == 10.0


@pytest.mark.parametrize(
    ("change", "code", "invalidates"),
    [
        ({"wrong": 1}, "wrong-answers", True),
        ({"latencies_ms": ()}, "no-requests", True),
        ({"failures": {"503": 1}}, "failures", False),
        ({"failures": {"503": 2}}, "failures", True),
        ({"seconds": 1.0, "latencies_ms": (10.0,) * 100}, "too-few", False),
        ({"generator_core_percent": 91.0}, "generator-saturated", True),
        ({"other_cpu_percent": 11.0}, "machine-busy", False),
        ({"steal_percent": 3.0}, "stolen", False),
        ({"users": 2}, "little", False),
    ],
)
def test_each_warning(change: dict[str, Any], code: str, invalidates: bool) -> None:
    cell = replace(CELL, **change)
    (warning,) = [w for w in cell.warnings() if w.code == code]
    assert warning.invalidates is invalidates
    assert cell.valid is not invalidates
    assert warning.seen
    assert warning.advice


@pytest.mark.parametrize(
    "change",
    [
        {"generator_core_percent": 90.0},
        {"other_cpu_percent": 10.0},
        {"steal_percent": 2.0},
        {"users": 2, "mode": "open"},
        {"latencies_ms": (10.4,) * 1000},
    ],
)
def test_no_warning_at_the_limits(change: dict[str, Any]) -> None:
    assert replace(CELL, **change).warnings() == []


def test_a_cell_without_answers_has_no_mean() -> None:
    empty = replace(CELL, latencies_ms=(), failures={"refused": 5})
    assert math.isnan(empty.mean_ms)
    assert (empty.qps, empty.percentile_ms(95), empty.valid) == (0.0, None, False)
