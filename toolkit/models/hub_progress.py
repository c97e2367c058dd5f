"""The progress of a download, as huggingface_hub reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def meter(total: int, report: Callable[[int], None]) -> Any:
    """Return a class to use as huggingface_hub's progress bar: it draws nothing and reports bytes.

    For one download the library makes several bars (received, written, files).  Those in bytes
    end at the same number, so the one with the most bytes is reported.
    """
    from tqdm import tqdm  # type: ignore[import-untyped, unused-ignore]

    class Meter(tqdm):  # type: ignore[type-arg, misc, unused-ignore]
        furthest = 0

        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            keywords.pop("name", None)
            self.bytes = keywords.get("unit") == "B"
            super().__init__(*arguments, **{**keywords, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self.bytes and self.n > Meter.furthest:
                Meter.furthest = min(int(self.n), total)
                report(Meter.furthest)

    return Meter
