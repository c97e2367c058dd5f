"""A finding on a claim: the claim, the verdict on it, and the arithmetic that led to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..estimates import Estimate

Value = float | str | Estimate | None


@dataclass(frozen=True)
class Statement:
    """One statement or one line of arithmetic: which one it is, and its numbers by name."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Finding:
    """A claim, its verdict, what the article says, what was found here, and the arithmetic.

    ``ours`` is empty if there is nothing to hold it to.
    """

    claim: str
    verdict: str
    quoted: Mapping[str, Value]
    ours: tuple[Statement, ...] = ()
    sums: tuple[Statement, ...] = ()
