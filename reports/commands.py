"""The reports' command: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..toolkit.console import progress, say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import artifacts
from ..toolkit.options import Out, names, share

SEARCH_TITLES = ("-capacity-", "-tune-")


def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="run files (default: newest)")] = None,
    out: Out = None,
    slo: Annotated[
        str, typer.Option("--slo", help="objective, p95=100ms (default: the article's slowest P95)")
    ] = "",
    load: Annotated[
        float | None, typer.Option("--load", help="requests a second (default: one instance's)")
    ] = None,
    headroom: Annotated[
        str, typer.Option("--headroom", help="share of an instance to keep free (default: 30%)")
    ] = "",
    utilisation: Annotated[
        str, typer.Option("--utilisation", help="a month's mean load over --load (default: 50%)")
    ] = "",
    instances: Annotated[
        int | None, typer.Option("--instances", help="at least so many instances (default: 1)")
    ] = None,
    price: Annotated[
        str, typer.Option("--price", help="ecs.c6.large, ecs.c6.large/second-hand or =500 a month")
    ] = "",
    gpu: Annotated[
        Path | None, typer.Option("--gpu", help="run file of a machine with a GPU, to compare")
    ] = None,
    gpu_price: Annotated[
        str, typer.Option("--gpu-price", help="its price, g4dn.xlarge (default: a comparable T4)")
    ] = "",
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="different machines or models, each labelled")
    ] = False,
    without: Annotated[
        str, typer.Option("--without", help="variants that are no answer to you, comma-separated")
    ] = "",
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="only print a summary for a CI job")
    ] = False,
) -> None:
    """Write pages from run files: which variant, on how many instances, for how much money.

    Example: tiankong report --slo p95=100ms --load 300 --instances 2 --price ecs.c6.large
    """
    from ..toolkit.runs.run_file import read_run
    from .beside import write_beside
    from .copies import copy_names
    from .facts.question import Wishes
    from .small_table import markdown_table
    from .writing import write_pages

    wishes = Wishes(
        slo, load, _share("--headroom", headroom), _share("--utilisation", utilisation),
        instances, price, gpu_price, tuple(names(without)),
    )  # fmt: skip
    paths = runs or [_newest_run()]
    with progress("reading", len(paths)) as step:
        loaded = []
        for number, path in enumerate(paths):
            if number:  # before: a file that is refused is the only line
                step(path.name)
            loaded.append(read_run(path))
    beside = read_run(gpu) if gpu else None
    if markdown:
        for run in loaded:
            print(markdown_table(run, wishes, beside))
        return
    out = out or artifacts() / "pages"
    if side_by_side:
        if gpu:
            raise UnusableInputError(
                "--gpu belongs to one machine's page: leave out --side-by-side"
            )
        written = write_beside(loaded, paths, out, prices, wishes)
        say(f"report: {len(written)} files in {out}, begin with {out / 'index.html'}")
        return
    given = [*paths, gpu] if gpu else paths
    written = write_pages(loaded, out, prices, wishes, beside, copy_names(given, out))
    say(f"report: {len(written)} files in {out}, begin with {out / 'index.html'}")


def _share(option: str, text: str) -> float | None:
    """Return the share in ``30%``, ``0.3``, ``0`` or ``100%``; None for an empty text."""
    ends = {"0": 0.0, "0%": 0.0, "1": 1.0, "100%": 1.0}
    if text.strip() in ends:
        return ends[text.strip()]
    try:
        return share(text)
    except UnusableInputError as error:
        raise UnusableInputError(f"{option}: {error}") from None


def _newest_run() -> Path:
    """Return the newest sweep: a search alone makes no table."""
    run_files = [
        path
        for path in sorted((artifacts() / "runs").glob("*.jsonl"))
        if not any(title in path.name for title in SEARCH_TITLES)
    ]
    if not run_files:
        raise UnusableInputError("there is no run file yet: measure first with 'tiankong sweep'")
    return run_files[-1]
