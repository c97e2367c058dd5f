"""The reports' command: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..toolkit.console import say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import artifacts
from ..toolkit.options import Out


def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="run files (default: newest)")] = None,
    out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="only print the table")] = False,
) -> None:
    """Write pages from run files."""
    from ..toolkit.runs.run_file import read_run
    from .small_table import markdown_table
    from .writing import write_pages

    paths = runs or [_newest_run()]
    loaded = [read_run(path) for path in paths]
    if markdown:
        for run in loaded:
            print(markdown_table(run))
        return
    out = out or artifacts() / "pages"
    written = write_pages(loaded, out, prices)
    say(f"report: {len(written)} files in {out}, begin with {out / 'index.html'}")


def _newest_run() -> Path:
    run_files = sorted((artifacts() / "runs").glob("*.jsonl"))
    if not run_files:
        raise UnusableInputError("there is no run file yet: measure first with 'tiankong sweep'")
    return run_files[-1]
