"""The trend picture: one line a variant over the measurements, with dates that tell them apart."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages import numbered

from tiankong.reports.facts.article import read_article
from tiankong.reports.facts.prices import read_prices
from tiankong.reports.facts.report import Report, compose
from tiankong.reports.sections.history import history
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.reports.writing import write_pages
from tiankong.toolkit.runs.run_file import Cell, Run


@pytest.fixture
def epochs(
    make_run: Callable[..., Run], make_cell: Callable[..., Cell]
) -> Callable[..., list[Run]]:
    """Runs of three versions; ``moments`` are the times at which they began."""

    def made(*moments: str) -> list[Run]:
        runs = []
        for place, moment in enumerate(moments):
            cells = [
                make_cell(name, "reference", 8, latency - 5 * place + drift)
                for name, latency in (("onnx-int8", 50.0), ("onnx-fp32", 160.0))
                for drift in (0.0, 0.5)
            ]
            told: dict[str, Any] = {"run": f"r{place}", "started": moment, "tool": f"0.{place}.0"}
            runs.append(make_run({}, numbered(cells), **told))
        return runs

    return made


def reported(runs: list[Run]) -> Report:
    return compose(runs, read_article(), read_prices())


def texts(markup: str) -> list[str]:
    return [e.text or "" for e in ET.fromstring(markup).iter() if e.tag.endswith("}text")]


@pytest.mark.parametrize("code", LANGUAGES)
def test_each_measurement_has_its_date_and_each_variant_a_line(
    epochs: Callable[..., list[Run]], code: str
) -> None:
    days = [f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
    section = history(reported(epochs(*days)), read_language(code))
    assert section is not None
    (picture,) = section.pictures
    written = texts(picture.markup)
    for name in ("2026-01-01", "2026-01-02", "2026-01-03", "onnx-int8", "onnx-fp32"):
        assert name in written
    assert "159" in picture.alt  # 8 users in 50 and 50.5 ms at first, in 40 and 40.5 ms now
    assert "199" in picture.alt


def test_measurements_of_one_day_have_their_time(epochs: Callable[..., list[Run]]) -> None:
    moments = [f"2026-01-01T0{hour}:30:00+00:00" for hour in (1, 2)]
    section = history(reported(epochs(*moments)), read_language("en"))
    assert section is not None
    written = texts(section.pictures[0].markup)
    assert {"2026-01-01 01:30", "2026-01-01 02:30"} <= set(written)


def test_the_picture_is_a_file_and_goes_with_the_history(
    epochs: Callable[..., list[Run]], tmp_path: Path
) -> None:
    days = [f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2)]
    runs = epochs(*days)
    write_pages(runs, tmp_path)
    assert (tmp_path / "trend.svg").is_file()
    assert "](trend.svg)" in (tmp_path / "report.md").read_text(encoding="utf-8")
    write_pages(runs[-1:], tmp_path)
    assert not (tmp_path / "trend.svg").exists()
