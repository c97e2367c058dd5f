"""The command line: reads arguments, calls the rooms, prints results.  Nothing else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .building.brought import named_or_brought
from .bundling import add_command as add_bundle
from .console import say
from .errors import TiankongError, UnusableInputError
from .explaining import add_command as add_explain
from .files import artifacts
from .measuring import add_commands
from .options import (
    AsJson,
    Gold,
    HitAt5,
    Model,
    Onnx,
    Out,
    PromiseOf,
    Revision,
    TokenizerFolder,
    Variants,
    names,
)
from .printing import print_gate, print_json, require_passed
from .processes import interrupt_on_terminate

if TYPE_CHECKING:
    from .building.folders import Built

INTERRUPTED = 130
EXTRAS = {
    "torch": "build", "transformers": "build", "onnx": "build",
    "safetensors": "build", "huggingface_hub": "build", "onnxruntime": "serve",
    "fastapi": "bench", "starlette": "serve", "uvicorn": "serve", "locust": "bench",
    "flask": "bench", "gunicorn": "bench", "matplotlib": "report", "jinja2": "report",
    "scipy": "report", "packaging": "bench", "openvino": "openvino", "nncf": "openvino",
    "wheel": "bundle",
    "ray": "ray",
}  # fmt: skip

app = typer.Typer(
    name="tiankong",
    help="Which variant of a Chinese masked language model, on which machine, for how much money.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"tiankong {version('tiankong')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="show the version")
    ] = False,
) -> None:
    """Exit codes: 0 fine, 1 gate failed or regression, 2 unusable input, 3 invalid measurement."""


@app.command(epilog="Example: tiankong models --json")
def models(as_json: AsJson = False) -> None:
    """List what can be measured here, with geometry and size."""
    from .models.loading import list_models

    found = list_models()
    if as_json:
        print_json({"models": [info.as_json() for info in found]})
        return
    for info in found:
        print(
            f"{info.name:<32} {info.layers} x {info.hidden}, {info.heads} heads,"
            f" vocabulary {info.vocabulary}, {info.parameters / 1e6:.1f} M parameters,"
            f" {info.parameters * 4 / 1e6:.0f} MB in float32"
        )


@app.command(epilog="Example: tiankong build --model builtin-small --variants onnx-fp32,onnx-int8")
def build(
    model: Model = "builtin", variants: Variants = "", revision: Revision = "",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make variants: recipes to artifacts/variants/<model>/<variant>/."""
    from .building.availability import choose
    from .building.build import build as build_variants

    choice = choose(names(variants), model, revision or None)
    built = build_variants(model, choice.recipes, revision or None)
    if as_json:
        entries = [b.manifest.as_json() | _place(b) for b in built]
        print_json({"model": model, "variants": entries, "skipped": choice.skipped_json()})
        return
    for entry in built:
        state = "unchanged" if entry.skipped else "built"
        size = entry.manifest.model_file_size / 1e6
        print(f"{entry.manifest.variant:<16} {size:7.1f} MB  {state}: {entry.folder}")


def _place(built: Built) -> dict[str, Any]:
    return {"folder": str(built.folder), "skipped": built.skipped}


@app.command(epilog="Example: tiankong check --variants onnx-int8 --gold my-gold.jsonl --json")
def check(
    model: Model = "", variants: Variants = "", gold: Gold = "builtin",
    onnx: Onnx = None, tokenizer: TokenizerFolder = None, promise: PromiseOf = "",
    hit_at_5: HitAt5 = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Gate: do the answers still hold?  One line a variant, flipped items named.

    With --onnx a file of your own is asked; with --model too, it is compared with that model's
    reference, without, with the gold answers only.
    """
    from .building.availability import NOTHING, choose
    from .building.brought import at_hand_offered, read_offer
    from .building.store import at_hand_named
    from .gate.examination import gate
    from .gate.gold import find_gold

    gold_set = find_gold(gold)
    if offer := read_offer(onnx, tokenizer, model, promise, hit_at_5):
        choice = NOTHING
        model, built = at_hand_offered(offer, names(variants))
    else:
        model = model or "builtin"
        choice = choose(names(variants), model)
        built = at_hand_named(model, choice.names)
    gated = gate(model, built, gold_set)
    if as_json:
        print_json(gated.as_json() | {"skipped": choice.skipped_json()})
    else:
        print_gate(gated)
    require_passed(gated)


@app.command(epilog="Example: tiankong predict '今天天气真[MASK]啊,适合出去玩。'")
def predict(
    text: Annotated[str, typer.Argument(help="a sentence with [MASK]")],
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=50, help="tokens a [MASK]")] = 5,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
    as_json: AsJson = False,
) -> None:
    """Answer one sentence: the most probable tokens for every [MASK]."""
    from .building.opening import open_variant
    from .engines.predictor import as_body
    from .engines.text import TextError

    built = named_or_brought(model, variant, onnx, tokenizer)
    try:
        (answer,) = open_variant(built.folder).predict([text], top_k)
    except TextError as error:
        raise UnusableInputError(str(error)) from None
    if as_json:
        print_json(as_body(answer) | {"variant": built.manifest.variant})
        return
    for number, ranking in enumerate(answer, start=1):
        if len(answer) > 1:
            print(f"[MASK] {number}")
        for entry in ranking:
            print(f"{entry.token}\t{entry.score:.4f}")


@app.command(epilog="Example: tiankong serve --variant onnx-int8 --port 8080")
def serve(
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one")] = 8080,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "127.0.0.1",
    stack: Annotated[
        str, typer.Option("--stack", "--engine", help="reference, article or ray (Ray Serve)")
    ] = "reference",
    streams: Annotated[
        int, typer.Option("--streams", min=0, help="batches at a time, 0: measured")
    ] = 0,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="for each batch, 0: usable cores, shared")
    ] = 0,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, help="sentences in one inference, 1: each alone")
    ] = 8,
    spin: Annotated[
        bool, typer.Option("--spin", help="ONNX Runtime's threads wait by running in circles")
    ] = False,
    cache: Annotated[
        int, typer.Option("--cache", min=0, help="answers to remember for who asks the same again")
    ] = 0,
    access_log: Annotated[
        bool, typer.Option(help="a JSON line a request, on standard output")
    ] = True,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="a key a line; clients need one of them")
    ] = None,
    replicas: Annotated[
        int, typer.Option("--replicas", min=0, help="processes, with --stack ray (1)")
    ] = 0,
    max_replicas: Annotated[
        int, typer.Option("--max-replicas", min=0, help="up to so many as the load asks for them")
    ] = 0,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
) -> None:
    """Serve one variant over HTTP until stopped."""
    from ..server.launch import require_takes, run
    from ..server.settings import Settings, known_stack

    chosen = known_stack(stack)
    settings = Settings(
        folder=Path(), host=host, port=port, streams=streams, threads=threads,
        max_batch=max_batch, spin=spin, cache=cache, access_log=access_log,
        api_key_file=api_key_file, replicas=replicas, max_replicas=max_replicas,
    )  # fmt: skip
    require_takes(chosen, settings)
    built = named_or_brought(model, variant, onnx, tokenizer)
    run(chosen, replace(settings, folder=built.folder))


@app.command(epilog="Example: tiankong export --triton models --variants onnx-int8 --instances 2")
def export(
    triton: Annotated[Path, typer.Option("--triton", help="a new folder: the model repository")],
    model: Model = "builtin",
    variants: Variants = "",
    instances: Annotated[int, typer.Option("--instances", min=1, help="of each model")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=0, help="each; 0: all cores")] = 0,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="sentences at once")] = 16,
) -> None:
    """Write a model repository for Triton Inference Server (all ONNX variants, or those named)."""
    from .building.recipes import read_recipes
    from .building.store import at_hand
    from .building.triton import BACKENDS, Running, write_repository

    recipes = read_recipes(names(variants))
    if not variants:
        recipes = [recipe for recipe in recipes if recipe.engine in BACKENDS]
    built = at_hand(model, recipes)
    for folder in write_repository(triton, built, Running(instances, threads, max_batch)):
        print(folder)


@app.command(epilog="Example: tiankong report artifacts/runs/RUN.jsonl --out pages")
def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="run files (default: newest)")] = None,
    out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="only print the table")] = False,
) -> None:
    """Write pages from run files."""
    from ..reports.small_table import markdown_table
    from ..reports.writing import write_pages
    from .runs.run_file import read_run

    paths = runs or [_newest_run()]
    read = [read_run(path) for path in paths]
    if markdown:
        for run in read:
            print(markdown_table(run))
        return
    out = out or artifacts() / "pages"
    written = write_pages(read, out, prices)
    say(f"report: {len(written)} files in {out}, begin with {out / 'index.html'}")


def _newest_run() -> Path:
    found = sorted((artifacts() / "runs").glob("*.jsonl"))
    if not found:
        raise UnusableInputError("there is no run file yet: measure first with 'tiankong sweep'")
    return found[-1]


add_commands(app)
add_explain(app)
add_bundle(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; a user's mistake is one line, no traceback."""
    interrupt_on_terminate()
    try:
        app(args=None if argv is None else list(argv), standalone_mode=True)
    except TiankongError as error:
        say(f"tiankong: {error}")
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        say(f"tiankong: this needs {error.name}: pip install 'tiankong[{extra}]'")
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:  # Typer turns Ctrl-C into this
            return _interrupted()
        return leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
    return 0


def _interrupted() -> int:
    say("tiankong: interrupted; what was finished is kept, the same command goes on from there")
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
