"""The commands that measure: sweep, compare, capacity, worker, bench.

They read arguments, call the rooms and print results, as the rest of the command line does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..bench.load.generator import BIND, generators_from
from .building.recipes import SHIPPED
from .console import say
from .errors import GateFailedError, InvalidMeasurementError, UnusableInputError
from .files import artifacts, write_json, write_text
from .options import (
    AsJson,
    Bind,
    Gold,
    HitAt5,
    Model,
    Onnx,
    Out,
    PlanName,
    Processes,
    PromiseOf,
    Revision,
    Slower,
    Target,
    TokenizerFolder,
    Variants,
    Workers,
    duration,
    names,
    share,
)
from .printing import print_comparison, print_gate, print_json, print_tuned, require_passed

if TYPE_CHECKING:
    from ..bench.compare.contest import Contest
    from ..bench.compare.judgement import Comparison
    from ..bench.sweep.plan import Plan
    from .building.availability import Choice
    from .building.recipes import Recipe
    from .runs.run_file import Run


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command(epilog="Example: tiankong sweep --plan smoke --variants onnx-fp32,onnx-int8")(sweep)
    app.command(epilog="Example: tiankong compare onnx-fp32 onnx-int8 --json")(compare)
    app.command(epilog="Example: tiankong capacity onnx-int8 --slo p95=100ms")(capacity)
    app.command(epilog="Example: tiankong tune onnx-int8 --slo p95=100ms")(tune)
    app.command(epilog="Example: tiankong worker --master 192.0.2.7:5557")(worker)
    app.command(epilog="Example: tiankong bench --plan table --out pages")(bench)


def sweep(
    model: Model = "", plan: PlanName = "table", variants: Variants = "", gold: Gold = "builtin",
    seed: Annotated[int | None, typer.Option("--seed", help="order of the cells")] = None,
    target: Target = "", processes: Processes = 1, workers: Workers = 0, bind: Bind = BIND,
    onnx: Onnx = None, tokenizer: TokenizerFolder = None, promise: PromiseOf = "",
    hit_at_5: HitAt5 = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Measure: fresh server, Locust, every answer checked; goes on where it stopped.

    With --onnx a file of your own is measured; with --model and --variants, those beside it.
    """
    from ..bench.sweep.sweep import sweep as run_sweep
    from .building.availability import NOTHING, choose
    from .building.brought import at_hand_offered, read_offer
    from .building.store import at_hand_named
    from .gate.examination import gated
    from .gate.gold import find_gold
    from .runs.run_file import read_run

    gold_set = find_gold(gold)
    choice = NOTHING
    if offer := read_offer(onnx, tokenizer, model, promise, hit_at_5):
        model, built = at_hand_offered(offer, names(variants))
        own = tuple(each.manifest.variant for each in built)
        # The article's server is another variant's: its place is in a sweep of recipes.
        chosen = replace(_plan(plan, ""), variants=own, yardstick="")
    else:
        chosen = _plan(plan, variants)
        model = model or chosen.model
        beside = [] if target else [chosen.yardstick]
        wanted = [*chosen.variants, *beside] if chosen.variants else []
        choice = choose([name for name in wanted if name], model, None, not variants)
        built = at_hand_named(model, choice.names)
    by = generators_from(processes, workers, bind)
    path = run_sweep(chosen, gated(model, built, gold_set), gold_set, seed, by, target)
    _show_run(path, as_json, choice)
    _require_valid(read_run(path))


def _plan(name: str, variants: str) -> Plan:
    """Return a plan; variants the user names take the place of the plan's."""
    from ..bench.sweep.plan import read_plan

    plan = read_plan(name)
    return replace(plan, variants=tuple(names(variants))) if variants else plan


def _show_run(path: Path, as_json: bool, choice: Choice) -> None:
    from .runs.run_file import read_run

    run = read_run(path)
    if as_json:
        cells = [cell.as_json() for cell in run.cells]
        print_json({"run": str(path), "cells": cells, "skipped": choice.skipped_json()})
        return
    from ..reports.small_table import markdown_table

    print(markdown_table(run))
    say(f"run file: {path}")


def _require_valid(run: Run) -> None:
    """Raise InvalidMeasurementError if the table cannot be trusted.

    That is: a point has no valid repeat, or a cell is invalid by the server's or variant's fault.
    """
    trusted = {cell.key[:-1] for cell in run.cells if cell.valid}
    bad = [c for c in run.cells if not c.valid and not (c.disturbed and c.key[:-1] in trusted)]
    if bad:
        codes = sorted({w.code for cell in bad for w in cell.warnings() if w.invalidates})
        raise InvalidMeasurementError(
            f"{len(bad)} of {len(run.cells)} cells are invalid ({', '.join(codes)}):"
            " the page says which, why, and what to do"
        )


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="VARIANT[@streams=N,...] or URL")],
    b: Annotated[str, typer.Argument(metavar="B", help="the same; default: as A")] = "",
    rev: Annotated[
        list[str] | None, typer.Option("--rev", help="git revision of A; given twice, of A and B")
    ] = None,
    model: Model = "builtin", gold: Gold = "builtin",
    users: Annotated[int, typer.Option("--users", min=1, help="callers, closed loop")] = 4,
    seconds: Annotated[float, typer.Option("--seconds", min=10, help="time to take")] = 50.0,
    seed: Annotated[int, typer.Option("--seed", help="order of the blocks")] = 0,
    fail: Slower = "", as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell whether B is faster or slower than A: interleaved, with an A/A control."""
    from ..bench.compare.contest import Contest
    from ..bench.compare.rounds import Terms

    limit = share(fail)
    contest = Contest.of(a, b or a, tuple(rev or ()), model, gold)
    result = contest.run(Terms(users=users, seconds=seconds, seed=seed))
    _keep(contest, result)
    if as_json:
        print_json(result.as_json())
    else:
        print_comparison(result)
    _require_speed([result], limit)


def _keep(contest: Contest, result: Comparison) -> None:
    from .machine import fingerprint, versions

    now = datetime.now(UTC)
    data = {"model": contest.model, "finished": now.isoformat(timespec="seconds")}
    data |= result.as_json() | {"machine": fingerprint(), "versions": versions()}
    path = artifacts() / "comparisons" / f"{now:%Y%m%dT%H%M%S%f}Z.json"
    write_json(path, data)
    say(f"comparison: {path}")


def _require_speed(results: Sequence[Comparison], limit: float | None) -> None:
    """Raise GateFailedError for a regression, else InvalidMeasurementError if one is unsure."""
    if limit is None:
        return
    found = {result: result.slower_than(limit) for result in results}
    slower = [result.b for result, is_slower in found.items() if is_slower]
    unsure = [result.b for result, is_slower in found.items() if is_slower is None]
    if slower:
        raise GateFailedError(f"{', '.join(slower)}: slower than A by more than {limit:.0%}")
    if unsure:
        raise InvalidMeasurementError(
            f"{', '.join(unsure)}: it cannot be told whether more than {limit:.0%} slower;"
            " measure longer (--seconds) or on a quieter machine"
        )


def capacity(
    variant: Annotated[str, typer.Argument(metavar="V", help="which variant")],
    slo: Annotated[str, typer.Option("--slo", help="p95=100ms, or several with commas")],
    is_open: Annotated[
        bool, typer.Option("--open", help="open loop: search the rate, not the users")
    ] = False,
    model: Model = "builtin", gold: Gold = "builtin",
    stack: Annotated[str, typer.Option("--stack", help="reference or article")] = "reference",
    seconds: Annotated[
        float, typer.Option("--seconds", min=2, help="of each of the three confirming runs")
    ] = 20.0,
    probe: Annotated[float, typer.Option("--probe", min=1, help="seconds of a probe")] = 8.0,
    target: Target = "", processes: Processes = 1, workers: Workers = 0, bind: Bind = BIND,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search the highest load that keeps an objective, and confirm it by longer runs."""
    from ..bench.search.capacity import Terms
    from ..bench.search.capacity import capacity as find_capacity
    from ..bench.search.slo import parse_slo
    from ..bench.sweep.session import Ground
    from .building.store import at_hand_named
    from .gate.examination import gated
    from .gate.gold import find_gold
    from .runs.cell import CLOSED, OPEN
    from .runs.load import ARTICLE_STACK, REFERENCE_STACK, TARGET_STACK

    if stack not in (REFERENCE_STACK, ARTICLE_STACK):
        raise UnusableInputError(f"unknown stack {stack!r}; known: reference, article")
    where = TARGET_STACK if target else stack
    terms = Terms(parse_slo(slo), OPEN if is_open else CLOSED, probe, seconds, stack=where)
    by = generators_from(processes, workers, bind)
    gold_set = find_gold(gold)
    built = gated(model, at_hand_named(model, [variant]), gold_set)
    result = find_capacity(variant, terms, Ground.of(built, gold_set, by, target))
    if as_json:
        print_json(result.as_json())
        return
    unit = "requests/s" if is_open else "users"
    print(f"{variant} holds {slo} at {result.load:.4g} {unit}: {result.qps:.4g} QPS,"
          f" 95 % interval {result.low:.4g} to {result.high:.4g}")  # fmt: skip
    if result.failed_load is not None:
        print(f"the lowest load that did not: {result.failed_load:.4g} {unit}")
    say(f"run file: {result.run}")


def tune(
    variant: Annotated[str, typer.Argument(metavar="V", help="which variant")],
    slo: Annotated[str, typer.Option("--slo", help="p95=100ms, or several with commas")],
    budget: Annotated[
        str,
        typer.Option("--budget", help="about how long (default: 10m; more where cores are many)"),
    ] = "",
    model: Model = "builtin", gold: Gold = "builtin",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search the serving settings with which a variant answers most within an objective."""
    from ..bench.load.generator import ALONE
    from ..bench.search.slo import parse_slo
    from ..bench.search.tune import require_enough
    from ..bench.search.tune import tune as find_settings
    from ..bench.sweep.session import Ground
    from ..reports.plots.tuning import space_picture
    from .building.recipes import read_recipes
    from .building.store import at_hand_named
    from .gate.examination import gated
    from .gate.gold import find_gold

    objective, seconds = parse_slo(slo), duration(budget) if budget else None
    [recipe] = read_recipes([variant])
    if seconds is not None:  # refuse before anything is built
        require_enough(seconds, recipe.engine, batches=_may_share_batches(model, recipe))
    gold_set = find_gold(gold)
    built = gated(model, at_hand_named(model, [variant]), gold_set)
    found = find_settings(variant, objective, seconds, Ground.of(built, gold_set, ALONE))
    data = found.as_json()
    picture = found.run.with_suffix(".svg")
    write_text(picture, space_picture(data))
    if as_json:
        print_json(data | {"picture": str(picture)})
        return
    print_tuned(found)
    say(f"picture of the space: {picture}")


def _may_share_batches(model: str, recipe: Recipe) -> bool:
    """Tell whether sentences may share a batch: by the gate, or what the recipe says before it."""
    from .building.folders import standing
    from .building.recipes import INDEPENDENT

    try:
        return standing(model, recipe.name).manifest.mates != "none"
    except UnusableInputError:  # if it is more than not built yet, that is said later
        return recipe.batch == INDEPENDENT


def worker(
    master: Annotated[str, typer.Option("--master", help="HOST:PORT given there as --bind")],
    processes: Processes = 1,
) -> None:
    """Make load for a 'sweep --workers' or 'capacity --workers' elsewhere, until stopped."""
    from ..bench.load.generator import work_for

    work_for(master, processes)


def bench(
    model: Model = "", plan: PlanName = "table",
    variants: Variants = "", gold: Gold = "builtin", revision: Revision = "",
    out: Out = None,
    prices: Annotated[Path | None, typer.Option("--prices", help="your own price file")] = None,
    against: Annotated[
        str, typer.Option("--compare", help="git revision: compare its speed with ours, no table")
    ] = "",
    fail: Slower = "5%",
) -> None:  # fmt: skip
    """Everything: build, check, sweep, report; or, with --compare, tell whether we are slower."""
    if against:
        _compare_revision(against, model or "builtin", names(variants) or [SHIPPED], gold, fail)
        return
    from ..bench.sweep.sweep import sweep as run_sweep
    from ..reports.writing import write_pages
    from .building.availability import choose
    from .building.build import build as build_variants
    from .building.folders import standing
    from .building.recipes import REFERENCE
    from .gate.examination import gate
    from .gate.gold import find_gold
    from .runs.run_file import read_run

    out = out or artifacts() / "pages"
    chosen = _plan(plan, variants)
    model = model or chosen.model
    gold_set = find_gold(gold)
    wanted = [*chosen.variants, chosen.yardstick, REFERENCE] if chosen.variants else []
    choice = choose([name for name in wanted if name], model, revision or None, not variants)
    built = build_variants(model, choice.recipes, revision or None)
    gated = gate(model, built, gold_set)
    print_gate(gated)
    path = run_sweep(chosen, [standing(model, b.manifest.variant) for b in built], gold_set)
    run = read_run(path)
    write_pages([run], out, prices)
    write_text(out / "run.jsonl", path.read_text(encoding="utf-8"))
    _show_run(path, False, choice)
    say(f"report: begin with {out / 'index.html'}")
    require_passed(gated)
    _require_valid(run)


def _compare_revision(
    revision: str, model: str, variants: Sequence[str], gold: str, fail: str
) -> None:
    from ..bench.compare.contest import Contest
    from ..bench.compare.rounds import Terms

    limit = share(fail)
    results: list[Any] = []
    for variant in variants:
        contest = Contest.of(variant, variant, (revision,), model, gold)
        results.append(contest.run(Terms()))
        _keep(contest, results[-1])
        print_comparison(results[-1])
    _require_speed(results, limit)
