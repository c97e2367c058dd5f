"""The command line: reads arguments, calls the rooms, prints results.  Nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import say
from .errors import GateFailedError, TiankongError, UnusableInputError
from .files import artifacts, write_text
from .processes import interrupt_on_terminate

if TYPE_CHECKING:
    from ..bench.plan import Plan
    from .build import Built
    from .checking import Gated
    from .runs import Run

INTERRUPTED = 130
EXTRAS = {
    "torch": "build", "transformers": "build", "onnx": "build",
    "safetensors": "build", "huggingface_hub": "build", "onnxruntime": "serve",
    "fastapi": "serve", "starlette": "serve", "uvicorn": "serve", "locust": "bench",
    "flask": "bench", "gunicorn": "bench", "matplotlib": "report", "jinja2": "report",
}  # fmt: skip

app = typer.Typer(
    name="tiankong",
    help="Which variant of a Chinese masked language model, on which machine, for how much money.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Option("--model", help="builtin, builtin-small, a hub id, a folder")]
Variants = Annotated[str, typer.Option("--variants", help="names, comma-separated (default: all)")]
Gold = Annotated[str, typer.Option("--gold", help="builtin, heldout, or a JSON-lines file")]
PlanName = Annotated[str, typer.Option("--plan", help="table, smoke, full, or a TOML file")]
Out = Annotated[Path | None, typer.Option("--out", help="folder (default: artifacts/pages)")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object on standard output")]
Revision = Annotated[str, typer.Option("--revision", help="branch, tag or commit on the hub")]


def _names(variants: str) -> list[str]:
    return [name.strip() for name in variants.split(",") if name.strip()]


def _print_json(data: object) -> None:
    print(json.dumps(data, ensure_ascii=False))


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
    from .models import list_models

    found = list_models()
    if as_json:
        _print_json({"models": [info.as_json() for info in found]})
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
    built = _build(model, _names(variants), revision or None)
    if as_json:
        entries = [b.manifest.as_json() | _place(b) for b in built]
        _print_json({"model": model, "variants": entries})
        return
    for entry in built:
        state = "unchanged" if entry.skipped else "built"
        size = entry.manifest.model_file_size / 1e6
        print(f"{entry.manifest.variant:<16} {size:7.1f} MB  {state}: {entry.folder}")


def _place(built: Built) -> dict[str, Any]:
    return {"folder": str(built.folder), "skipped": built.skipped}


def _build(model: str, names: Sequence[str], revision: str | None = None) -> list[Built]:
    from .build import build as build_variants
    from .recipes import read_recipes

    return build_variants(model, read_recipes(names), revision)


def _standing(model: str, names: Sequence[str]) -> list[Built]:
    from .build import at_hand
    from .recipes import read_recipes

    return at_hand(model, read_recipes(names))


@app.command(epilog="Example: tiankong check --variants onnx-int8 --gold my-gold.jsonl --json")
def check(
    model: Model = "builtin", variants: Variants = "", gold: Gold = "builtin",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Gate: do the answers still hold?  One line a variant, flipped items named."""
    from .checking import find_gold, gate

    gold_set = find_gold(gold)
    gated = gate(model, _with_reference(model, _names(variants)), gold_set)
    if as_json:
        _print_json(gated.as_json())
    else:
        _print_gate(gated)
    _require_passed(gated)


def _with_reference(model: str, names: Sequence[str]) -> list[Built]:
    from .recipes import REFERENCE

    found = _standing(model, [*names, REFERENCE] if names else [])
    return [b for b in found if not names or b.manifest.variant in names]


def _require_passed(gated: Gated) -> None:
    failed = [result.variant for result in gated.checks if not result.passed]
    if failed:
        raise GateFailedError(f"the gate failed for {', '.join(failed)}")


def _print_gate(gated: Gated) -> None:
    print(f"model {gated.model}, gold set {gated.gold.name} ({len(gated.gold.items)} items)")
    for result in gated.checks:
        verdict = "passed" if result.passed else "FAILED"
        print(
            f"{result.variant:<16} {verdict}  hit@1 {result.hit_at_1:.1%}"
            f"  hit@5 {result.hit_at_5:.1%}  same top-1 {result.top1_agreement:.1%}"
            f"  same top-5 {result.top5_agreement:.1%} (ordered {result.order_agreement:.1%})"
            f"  max difference {result.max_delta:.1e}"
        )
        for category, hits in result.categories.items():
            print(
                f"  {category:<14} {hits.items:4} items"
                f"  hit@1 {hits.hit_at_1:.1%}  hit@5 {hits.hit_at_5:.1%}"
            )
        for reason in result.reasons:
            print(f"  broken promise: {reason}")
        for flip in result.flipped:
            print(f"  flipped {flip.id}: {flip.text} {flip.reference} -> {flip.variant}")


@app.command(epilog="Example: tiankong predict '今天天气真[MASK]啊,适合出去玩。'")
def predict(
    text: Annotated[str, typer.Argument(help="a sentence with [MASK]")],
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant answers")] = "onnx-int8",
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=50, help="tokens a [MASK]")] = 5,
    as_json: AsJson = False,
) -> None:
    """Answer one sentence: the most probable tokens for every [MASK]."""
    from .predictor import as_body, open_variant
    from .text import TextError

    (built,) = _standing(model, [variant])
    try:
        (answer,) = open_variant(built.folder).predict([text], top_k)
    except TextError as error:
        raise UnusableInputError(str(error)) from None
    if as_json:
        _print_json(as_body(answer) | {"variant": variant})
        return
    for number, ranking in enumerate(answer, start=1):
        if len(answer) > 1:
            print(f"[MASK] {number}")
        for entry in ranking:
            print(f"{entry.token}\t{entry.score:.4f}")


@app.command(epilog="Example: tiankong serve --variant onnx-int8 --port 8080")
def serve(
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant")] = "onnx-int8",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one")] = 8080,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "127.0.0.1",
    stack: Annotated[str, typer.Option("--stack", help="reference or article")] = "reference",
    streams: Annotated[int, typer.Option("--streams", min=0, help="0: usable cores")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="0: usable cores")] = 0,
) -> None:
    """Serve one variant over HTTP until stopped."""
    from ..server.launch import run_article, run_reference
    from ..server.settings import Settings
    from .machine import usable_cores

    if stack not in ("reference", "article"):
        raise UnusableInputError(f"unknown stack {stack!r}; known: reference, article")
    (built,) = _standing(model, [variant])
    cores = usable_cores()
    settings = Settings(
        folder=built.folder, host=host, port=port,
        streams=streams or cores, threads=threads or cores,
    )  # fmt: skip
    if stack == "article":
        run_article(settings)
    run_reference(settings)


@app.command(epilog="Example: tiankong sweep --plan smoke --variants onnx-fp32,onnx-int8")
def sweep(
    model: Model = "", plan: PlanName = "table", variants: Variants = "", gold: Gold = "builtin",
    seed: Annotated[int | None, typer.Option("--seed", help="order of the cells")] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure: fresh server, Locust, every answer checked; goes on where it stopped."""
    from ..bench.sweep import sweep as run_sweep
    from .checking import find_gold, gated
    from .runs import read_run

    chosen = _plan(plan, variants)
    model = model or chosen.model
    gold_set = find_gold(gold)
    names = [*chosen.variants, chosen.yardstick] if chosen.variants else []
    built = _with_reference(model, [name for name in names if name])
    path = run_sweep(chosen, gated(model, built, gold_set), gold_set, seed)
    _show_run(path, as_json)
    _require_valid(read_run(path))


def _plan(name: str, variants: str) -> Plan:
    """Return a plan; variants the user names take the place of the plan's."""
    from ..bench.plan import read_plan

    plan = read_plan(name)
    return replace(plan, variants=tuple(_names(variants))) if variants else plan


def _show_run(path: Path, as_json: bool) -> None:
    from .runs import read_run

    run = read_run(path)
    if as_json:
        cells = [{"key": list(c.key), "qps": c.qps, "p95_ms": c.percentile_ms(95),
                  "valid": c.valid} for c in run.cells]  # fmt: skip
        _print_json({"run": str(path), "cells": cells})
        return
    from ..reports.summary import markdown_table

    print(markdown_table(run))
    say(f"run file: {path}")


@app.command(epilog="Example: tiankong report artifacts/runs/RUN.jsonl --out pages")
def report(
    runs: Annotated[list[Path] | None, typer.Argument(help="run files (default: newest)")] = None,
    out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="only print the table")] = False,
) -> None:
    """Write pages from run files."""
    from ..reports.pages import write_pages
    from ..reports.summary import markdown_table
    from .runs import read_run

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


@app.command(epilog="Example: tiankong bench --plan table --out pages")
def bench(
    model: Model = "", plan: PlanName = "table",
    variants: Variants = "", gold: Gold = "builtin", revision: Revision = "",
    out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
) -> None:  # fmt: skip
    """Everything: build, check, sweep, report."""
    from ..bench.sweep import sweep as run_sweep
    from ..reports.pages import write_pages
    from .build import standing
    from .checking import find_gold, gate
    from .recipes import REFERENCE
    from .runs import read_run

    out = out or artifacts() / "pages"
    chosen = _plan(plan, variants)
    model = model or chosen.model
    gold_set = find_gold(gold)
    names = [*chosen.variants, chosen.yardstick, REFERENCE] if chosen.variants else []
    built = _build(model, [name for name in names if name], revision or None)
    gated = gate(model, built, gold_set)
    _print_gate(gated)
    path = run_sweep(chosen, [standing(model, b.manifest.variant) for b in built], gold_set)
    run = read_run(path)
    write_pages([run], out, prices)
    write_text(out / "run.jsonl", path.read_text(encoding="utf-8"))
    _show_run(path, as_json=False)
    say(f"report: begin with {out / 'index.html'}")
    _require_passed(gated)
    _require_valid(run)


def _require_valid(run: Run) -> None:
    from .errors import InvalidMeasurementError

    if not all(cell.valid for cell in run.cells):
        raise InvalidMeasurementError("some cells are invalid: the page says which and why")


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
