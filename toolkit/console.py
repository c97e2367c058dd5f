"""What a person sees while work goes on: a progress bar on a terminal, plain lines otherwise.

Everything goes to standard error; standard output belongs to results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from .files import MEBIBYTE

if TYPE_CHECKING:
    from rich.progress import ProgressColumn


def say(line: str) -> None:
    """Write one line to standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with a few words when each of ``total`` steps begins.

    On a terminal it moves one bar; elsewhere it prints ``title: words`` a line, when they change.
    """
    if not sys.stderr.isatty():
        yield _plain_words(title)
        return
    # Imported here: servers print lines and need no bar.
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn

    with _bar(title, total, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as move:
        begun = 0

        def step(words: str) -> None:
            nonlocal begun
            move(description=f"{title}: {words}", completed=begun)
            begun += 1

        yield step


@contextmanager
def download_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the bytes received so far, of ``total``.

    On a terminal it moves one bar; elsewhere it prints a line at every quarter.
    """
    title = f"downloading {what}"
    if not total:
        yield lambda done: None
    elif not sys.stderr.isatty():
        yield _plain_bytes(title, total)
    else:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        received = DownloadColumn(binary_units=True)
        columns = (BarColumn(), received, TransferSpeedColumn(), TimeRemainingColumn())
        with _bar(title, total, *columns) as move:
            yield lambda done: move(completed=done)


@contextmanager
def _bar(title: str, total: int, *columns: ProgressColumn) -> Iterator[Callable[..., None]]:
    """Yield a function that updates a bar (``completed``, ``description``), removed at the end."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    described = TextColumn("{task.description}")
    with Progress(described, *columns, console=Console(stderr=True), transient=True) as bars:
        yield partial(bars.update, bars.add_task(title, total=total))


def _plain_words(title: str) -> Callable[[str], None]:
    last = ""

    def step(words: str) -> None:
        nonlocal last
        if words != last:
            say(f"{title}: {words}")
            last = words

    return step


def _plain_bytes(title: str, total: int) -> Callable[[int], None]:
    said = -1

    def report(done: int) -> None:
        nonlocal said
        quarter = 4 * done // total
        if quarter > said:
            said = quarter
            say(f"{title}: {done / MEBIBYTE:.1f} of {total / MEBIBYTE:.1f} MiB")

    return report
