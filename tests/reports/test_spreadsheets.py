"""CSV files: what a spreadsheet and a program read out of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from cells import changed

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.spreadsheets import cells_csv, points_csv
from tiankong.toolkit.runs.cell import Cell
from tiankong.toolkit.runs.run_file import Run


def report_of(run: Run) -> Report:
    return compose([run], read_article(), read_prices())


def rows(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return [*csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)]


def test_a_point_comes_back_as_numbers_with_its_interval(repeated: Run) -> None:
    report = report_of(repeated)
    read = rows(points_csv(report))
    assert len(read) == len(report.every_point)
    for row, point in zip(read, report.every_point, strict=True):
        assert (row["variant"], row["stack"], row["users"]) == (*point.series, str(point.users))
        assert point.qps.ends
        assert (float(row["qps_low"]), float(row["qps_high"])) == point.qps.ends
        assert point.p95_ms
        assert float(row["p95_ms"]) == point.p95_ms.value
        assert row["rate"] == ""  # a closed loop has none


def test_lines_end_as_the_rfc_says(make_run: Callable[..., Run]) -> None:
    for text in (points_csv(report_of(make_run())), cells_csv(report_of(make_run()))):
        assert text.count("\r\n") == text.count("\n") > 1
        assert text.endswith("\r\n")


def test_every_cell_is_there_superseded_ones_marked(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    first = make_cell("onnx-int8", "reference", 8, 60, other_cpu_percent=30.0)
    run = replace(make_run(), superseded=(first,))
    read = rows(cells_csv(report_of(run)))
    assert len(read) == len(run.cells) + 1
    assert [row["superseded"] for row in read].count("yes") == 1
    again = read[-1]
    assert (again["valid"], again["warnings"]) == ("no", "machine-busy")
    assert float(again["qps"]) == first.qps


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_word_of_a_user_becomes_a_formula(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], name: str
) -> None:
    run = make_run({}, (make_cell(name, "reference", 8, 50),))
    report = report_of(run)
    for text in (points_csv(report), cells_csv(report)):
        assert rows(text)[0]["variant"] == f"'{name}"


def test_a_negative_number_stays_a_number(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    run = make_run({}, (make_cell("onnx-int8", "reference", 8, 50, start_seconds=-1.5),))
    assert rows(cells_csv(report_of(run)))[0]["start_seconds"] == "-1.5"


def test_names_with_commas_quotes_lines_and_chinese_come_back(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> None:
    name = '变体，"一",\n二'
    cell = changed(make_cell(name, "reference", 8, 50), settings={"streams": 2, "名": "值"})
    read = rows(cells_csv(report_of(make_run({}, (cell,)))))
    assert read[0]["variant"] == name
    assert read[0]["settings"] == '{"streams": 2, "名": "值"}'
