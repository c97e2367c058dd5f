"""What a person sees while work goes on: a progress bar on a terminal, plain lines otherwise.

Everything goes to standard error; standard output belongs to results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def say(line: str) -> None:
    """Write one line to standard error."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Yield a function to call with a few words when each of ``total`` steps begins.

    On a terminal it moves one bar; elsewhere it prints ``title: words`` a line, when they change.
    """
    if not sys.stderr.isatty():
        last = ""

        def plain(words: str) -> None:
            nonlocal last
            if words != last:
                say(f"{title}: {words}")
                last = words

        yield plain
        return
    # Imported here: servers say a line and draw nothing.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=total)
        begun = 0

        def bar(words: str) -> None:
            nonlocal begun
            bars.update(task, description=f"{title}: {words}", completed=begun)
            begun += 1

        yield bar
