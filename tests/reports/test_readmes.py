"""The figures in the READMEs are those of the committed run files: no figure is typed there."""

from __future__ import annotations

import re

import pytest
from readmes import HOME, READMES, committed, refreshed

from tiankong.reports.facts.report import Report
from tiankong.reports.text.language import LANGUAGES, read_language


@pytest.fixture(scope="module")
def report() -> Report:
    return committed()


@pytest.mark.parametrize("code", LANGUAGES)
def test_the_blocks_are_what_the_committed_runs_give(report: Report, code: str) -> None:
    text = READMES[code].read_text(encoding="utf-8")
    assert refreshed(text, report, read_language(code)) == text, "run: nox -s pages"


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_picture_and_file_is_there(code: str) -> None:
    text = READMES[code].read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert len(links) > 20
    for link in links:
        assert (HOME / link).exists(), link
