"""The examples of docs/costs.md compute what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs" / "costs.md"


def test_the_examples_hold() -> None:
    results = doctest.testfile(str(DOCUMENT), module_relative=False)
    assert results.attempted == 9
    assert results.failed == 0
