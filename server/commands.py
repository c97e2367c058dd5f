"""The server's command: serve."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..toolkit.options import ConvertPickle, Model, Onnx, Output, Recipes, Revision, TokenizerFolder
from .settings import TABLE, Setting, Settings, known_stack


def takes(rows: Sequence[Setting]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's parameter ``settings`` by one option for each of these settings.

    The command itself sets the folder.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def run(**arguments: Any) -> None:
            settings = Settings(Path(), **{row.name: arguments.pop(row.name) for row in rows})
            command(settings=settings, **arguments)

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "settings"]
        options = [_parameter(row) for row in rows]
        # Typer takes a command's options from its signature.
        vars(run)["__signature__"] = signature.replace(parameters=[*own, *options])
        return run

    return decorate


def _parameter(row: Setting) -> inspect.Parameter:
    is_number = row.kind is int
    option = typer.Option(
        row.default,
        f"{row.option}/{row.negated}" if row.kind is bool else row.option,
        help=row.text,
        min=row.least if is_number else None,
        max=row.most if is_number else None,
    )
    kind = row.kind | None if row.default is None else row.kind
    return inspect.Parameter(
        row.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind
    )


@takes([row for row in TABLE if row.name not in ("folder", "beside")])
def serve(
    settings: Settings,
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    beside: Annotated[
        str, typer.Option("--beside", help="a second variant, for the page to compare with")
    ] = "",
    recipes: Recipes = None,
    revision: Revision = "",
    convert_pickle: ConvertPickle = False,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
    output: Output = "",
    stack: Annotated[
        str, typer.Option("--stack", help="reference, article or ray (Ray Serve)")
    ] = "reference",
) -> None:
    """Serve one variant over HTTP until stopped, and a second one beside it if wanted."""
    from ..toolkit.building.offer import read_offer
    from ..toolkit.building.store import Store
    from .launch import require_takes, run

    chosen = known_stack(stack)
    require_takes(chosen, replace(settings, beside=Path(beside) if beside else None))
    offer = read_offer(onnx, tokenizer, output)
    store = Store(
        "" if offer else model, revision or None, recipes, offer, convert_pickle=convert_pickle
    )
    settings = replace(settings, folder=store.to_open(variant).folder)
    if beside:
        of_model = replace(store, model=model, offer=None)
        settings = replace(settings, beside=of_model.to_open(beside).folder)
    run(chosen, settings)
