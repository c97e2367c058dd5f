"""How far a download has come: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..console import say
from ..files import MEBIBYTE

Progress = Callable[[int, int], None]  # bytes received, bytes in all


@contextmanager
def reported(what: str, total: int, on_progress: Progress | None) -> Iterator[Progress]:
    """Yield a reporter: the caller's, a bar on a terminal, plain lines elsewhere."""
    if on_progress is not None or not total:
        yield on_progress or (lambda done, total: None)
    elif sys.stderr.isatty():
        with _bar(what, total) as report:
            yield report
    else:
        yield _plain_lines(what)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Progress]:
    """Yield a reporter that moves a bar on the terminal."""
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"downloading {what}", total=total)
        yield lambda done, _: bars.update(task, completed=done)


def _plain_lines(what: str) -> Progress:
    """Return a reporter that prints a line at every quarter."""
    said = -1

    def report(done: int, total: int) -> None:
        nonlocal said
        quarter = 4 * done // total
        if quarter > said:
            said = quarter
            sizes = f"{done / MEBIBYTE:.1f} of {total / MEBIBYTE:.1f} MiB"
            say(f"downloading {what}: {sizes}")

    return report


def meter(total: int, report: Progress) -> Any:
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
                report(Meter.furthest, total)

    return Meter
