"""How far a download has come, as huggingface_hub tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def meter(total: int, report: Callable[[int], None]) -> Any:
    """Return a class huggingface_hub takes for a progress bar: it draws nothing and reports bytes.

    The library makes several bars of one download (received, written, files); those in bytes
    agree at the end, so the one furthest on is reported.
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
