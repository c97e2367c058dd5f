"""The commands that measure a plan: sweep, worker, bench."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...toolkit.commands import print_gate, require_passed
from ...toolkit.console import say
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.files import artifacts
from ...toolkit.options import (
    BIND,
    ApiKeyFile,
    AsJson,
    Bind,
    CaCert,
    CalibrationFile,
    ConvertPickle,
    Gold,
    Headers,
    HitAt5,
    Insecure,
    Model,
    Onnx,
    Out,
    Output,
    PlanName,
    Processes,
    PromiseOf,
    Recipes,
    Revision,
    Slower,
    Target,
    TokenizerFolder,
    Variants,
    Workers,
    names,
    print_json,
)
from .compare import compare_revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...toolkit.building.availability import Choice
    from ...toolkit.runs.cell import Cell
    from ...toolkit.runs.run_file import Run

LISTED = 5  # invalid cells that a message names


def sweep(
    model: Model = "", plan: PlanName = "table", variants: Variants = "", gold: Gold = "builtin",
    seed: Annotated[int | None, typer.Option("--seed", help="order of the cells")] = None,
    target: Target = "", key_file: ApiKeyFile = None, headers: Headers = None,
    cacert: CaCert = None, insecure: Insecure = False,
    processes: Processes = 1, workers: Workers = 0, bind: Bind = BIND,
    recipes: Recipes = None, revision: Revision = "", convert_pickle: ConvertPickle = False,
    onnx: Onnx = None, tokenizer: TokenizerFolder = None, output: Output = "",
    promise: PromiseOf = "",
    hit_at_5: HitAt5 = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure: fresh server, Locust, every answer checked; goes on where it stopped.

    With --onnx a file of your own is measured; with --model and --variants, those beside it.
    """
    from ...toolkit.building.availability import NOTHING
    from ...toolkit.building.offer import read_promised_offer
    from ...toolkit.building.store import Store
    from ...toolkit.gate.examination import ensure
    from ...toolkit.gate.gold import find_gold
    from ...toolkit.runs.run_file import read_run
    from ..evidence.gathering import things_beside
    from ..load.generator import generators_from
    from ..load.greeting import greet
    from ..load.target import read_access
    from ..sweep.ground import require_one
    from ..sweep.plan import read_plan
    from ..sweep.sweep import sweep as run_sweep

    gold_set = find_gold(gold)
    offer = read_promised_offer(onnx, tokenizer, model, promise, hit_at_5, recipes, output)
    chosen = read_plan(plan).of([] if offer else names(variants))
    store = Store(
        model if offer else model or chosen.model,
        revision or None,
        recipes,
        offer,
        convert_pickle=convert_pickle,
    )
    needs = chosen.needs(target=bool(target))
    choice = NOTHING if offer else store.choose(needs, optional=not variants)
    choice = choice if offer else choice.beside(chosen.not_suited)
    by = generators_from(processes, workers, bind)
    access, greeting = read_access(headers or (), key_file, cacert, insecure=insecure), None
    access.require_used(with_url=bool(target))
    if target:  # before anything is built
        [wanted_there] = [""] if offer else require_one(choice.names)
        greeting = greet(access.to(target), gold_set.texts(), wanted_there, batch=chosen.batches)
    choice = choice if offer else store.prepare(choice)
    wanted = names(variants) if offer else choice.names
    built = ensure(store, wanted, gold_set)
    if offer:
        # No yardstick: the article's server belongs to a sweep of recipes.
        measured = tuple(entry.manifest.variant for entry in built)
        chosen = replace(chosen, variants=measured, yardstick="")
    beside = [] if target else things_beside(chosen, built, gold_set, by)
    path = run_sweep(chosen, built, gold_set, seed, by, greeting, beside)
    run = read_run(path)
    _show_run(run, path, as_json, choice)
    require_valid(run)


def _show_run(run: Run, path: Path, as_json: bool, choice: Choice) -> None:
    if as_json:
        from ...toolkit.runs.validity import summary

        cells = [summary(cell) for cell in run.cells]
        print_json({"run": str(path), "cells": cells, "skipped": choice.skipped_json()})
        return
    from ...reports.small_table import markdown_table

    print(markdown_table(run))
    say(f"run file: {path}")


def require_valid(run: Run) -> None:
    """Raise InvalidMeasurementError if the table cannot be trusted; say what was left out of it.

    It cannot be trusted if a point has no valid repeat, or if the server or the variant made a cell
    invalid.  A repeat that outside causes made invalid beside a valid one is only left out.
    """
    from ...toolkit.runs.validity import is_disturbed, is_valid

    trusted = {cell.point.gathered for cell in run.cells if is_valid(cell)}
    invalid = [cell for cell in run.cells if not is_valid(cell)]
    left_out = [c for c in invalid if is_disturbed(c) and c.point.gathered in trusted]
    bad = [cell for cell in invalid if cell not in left_out]
    if left_out:
        say(
            f"warning: {len(left_out)} of {len(run.cells)} cells left out as invalid, each beside"
            f" a valid repeat: {_listed(left_out)}"
        )
    if bad:
        raise InvalidMeasurementError(
            f"{len(bad)} of {len(run.cells)} cells invalid: {_listed(bad)}; the pages of"
            " 'tiankong report' say why and what to do; then run the same command again"
        )


def _listed(cells: Sequence[Cell]) -> str:
    """Name the points of cells and the codes that made them invalid, the first few in full."""
    from ...toolkit.runs.validity import invalidating

    named = [f"{c.point} ({', '.join(w.code for w in invalidating(c))})" for c in cells[:LISTED]]
    more = [f"and {len(cells) - LISTED} more"] if len(cells) > LISTED else []
    return ", ".join([*named, *more])


def worker(
    master: Annotated[str, typer.Option("--master", help="HOST:PORT given there as --bind")],
    processes: Processes = 1,
) -> None:
    """Make load for a 'sweep --workers' or 'capacity --workers' elsewhere, until stopped."""
    from ..load.generator import work_for

    work_for(master, processes)


def bench(
    model: Model = "", plan: PlanName = "table",
    variants: Variants = "", gold: Gold = "builtin", revision: Revision = "",
    recipes: Recipes = None, convert_pickle: ConvertPickle = False,
    calibration: CalibrationFile = None, out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    against: Annotated[
        str, typer.Option("--compare", help="git revision: compare its speed with ours, no table")
    ] = "",
    fail: Slower = "5%",
) -> None:  # fmt: skip
    """Everything: build, check, sweep, report; or, with --compare, tell whether we are slower."""
    from ...toolkit.building.store import Store

    if against:
        from ...toolkit.building.recipes import SHIPPED

        store = Store(model or "builtin", revision or None, recipes, convert_pickle=convert_pickle)
        compare_revision(against, store, names(variants) or [SHIPPED], gold, fail)
        return
    from ...reports.writing import write_pages
    from ...toolkit.building.recipes import REFERENCE
    from ...toolkit.gate.examination import gate
    from ...toolkit.gate.gold import find_gold
    from ...toolkit.runs.run_file import read_run
    from ..evidence.gathering import things_beside
    from ..sweep.plan import read_plan
    from ..sweep.sweep import sweep as run_sweep

    out = out or artifacts() / "pages"
    chosen = read_plan(plan).of(names(variants))
    model = model or chosen.model
    gold_set = find_gold(gold)
    store = Store(
        model, revision or None, recipes, convert_pickle=convert_pickle, calibration=calibration
    )
    needs = chosen.needs()
    wanted = [*needs, REFERENCE] if needs else []
    choice = store.choose(wanted, optional=not variants).beside(chosen.not_suited)
    built, choice = store.build_chosen(choice)
    gated = gate(store, built, gold_set)
    print_gate(gated)
    measured = [store.standing(name) for name in choice.names]
    beside = things_beside(chosen, measured, gold_set)
    path = run_sweep(chosen, measured, gold_set, beside=beside)
    run = read_run(path)
    write_pages([run], out, prices, copies={"run.jsonl": path})
    _show_run(run, path, False, choice)
    say(f"report: begin with {out / 'index.html'}")
    require_passed(gated)
    require_valid(run)
