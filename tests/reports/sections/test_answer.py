"""The answer on pages: who is recommended, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run

pytestmark = pytest.mark.usefixtures("quick_plots")


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
    assert "onnx-int8 failed the gate." in text
    assert "**failed** (top-1 agreement 0.910 is under 0.970)" in text
    assert "1 instance of onnx-fp32 on" in text
    assert "of onnx-int8 on" not in text
    summary = json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["answer"]["leading"] == {"variant": "onnx-fp32", "stack": "reference"}


def test_nothing_to_recommend_is_said(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell], tmp_path: Path
) -> None:
    run = make_run({}, (make_cell("onnx-int8", "reference", 8, 50, wrong=1),))
    write_pages([run], tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Not decided, because onnx-int8 has no valid measurement at 8 users" in text


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
    assert "1 instance of onnx-int8 on Mine box (2 vCPU), EUR 10 a month" in text
    # 10 / (160 x 0.7 x half of 2,628,000 s) x 1e6
    assert "A million requests cost EUR 0.07" in text
    assert "Alibaba" not in text
