"""Special tokens by their spelling."""

from __future__ import annotations

import doctest

from tiankong.toolkit.models import tokens


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(tokens).attempted == 1
    assert doctest.testmod(tokens).failed == 0
