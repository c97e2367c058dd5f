"""The server's command: serve."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..toolkit.options import Model, Onnx, Recipes, TokenizerFolder
from .settings import TABLE, Setting, Settings, known_stack


def takes(rows: Sequence[Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each of these settings, instead of its argument ``settings``.

    The folder is the command's own to set.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**given: Any) -> None:
            settings = Settings(Path(), **{row.name: given.pop(row.name) for row in rows})
            command(settings=settings, **given)

        shown = inspect.signature(command, eval_str=True)
        own = [each for each in shown.parameters.values() if each.name != "settings"]
        options = [_parameter(row) for row in rows]
        # Typer reads it to know the options.
        vars(run)["__signature__"] = shown.replace(parameters=[*own, *options])
        return run

    return decorate


def _parameter(row: Setting) -> inspect.Parameter:
    whole = row.kind is int
    option = typer.Option(
        row.default,
        f"{row.option}/{row.negated}" if row.kind is bool else row.option,
        help=row.text,
        min=row.least if whole else None,
        max=row.most if whole else None,
    )
    kind = row.kind | None if row.default is None else row.kind
    return inspect.Parameter(
        row.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind
    )


@takes([row for row in TABLE if row.name != "folder"])
def serve(
    settings: Settings,
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    recipes: Recipes = None,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
    stack: Annotated[
        str, typer.Option("--stack", help="reference, article or ray (Ray Serve)")
    ] = "reference",
) -> None:
    """Serve one variant over HTTP until stopped."""
    from ..toolkit.building.offer import read_offer
    from ..toolkit.building.store import Store
    from .launch import require_takes, run

    chosen = known_stack(stack)
    require_takes(chosen, settings)
    offer = read_offer(onnx, tokenizer)
    built = Store("" if offer else model, None, recipes, offer).to_open(variant)
    run(chosen, replace(settings, folder=built.folder))
