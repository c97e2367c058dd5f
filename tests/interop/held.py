"""What both halves that load variants share: our answers, and how they are held to others'."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plain import Best, differs

Ask = Callable[[str], Best]


def asked_of(path: str, engine: str) -> list[dict[str, Any]]:
    """Return the variants of an engine in a file that ask.py has written."""
    variants = json.loads(Path(path).read_text(encoding="utf-8"))
    return [variant for variant in variants if variant["engine"] == engine]


def hold(variant: Mapping[str, Any], ways: Mapping[str, Ask]) -> int:
    """Compare a variant's answers, print a line for each way, and return how many differ.

    They may differ by what its recipe allows between one batch and another.
    """
    different = 0
    for way, best in ways.items():
        wrong = [
            text
            for text, answer in variant["answers"].items()
            if differs(
                [(int(i), score) for i, score in answer],
                best(text),
                variant["tie"],
                variant["delta"],
            )
        ]
        different += len(wrong)
        same = len(variant["answers"]) - len(wrong)
        print(f"{variant['name']:<16} {way:<12} {same} of {len(variant['answers'])} alike",
              *wrong[:3], flush=True)  # fmt: skip
    return different
