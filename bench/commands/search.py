"""The commands that search: capacity and tune."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...toolkit.console import say
from ...toolkit.errors import GateFailedError, UnusableInputError
from ...toolkit.files import write_text
from ...toolkit.options import (
    BIND,
    ApiKeyFile,
    AsJson,
    Bind,
    CaCert,
    ConvertPickle,
    Gold,
    Headers,
    Insecure,
    Model,
    Processes,
    Recipes,
    Revision,
    Target,
    Workers,
    duration,
    names,
    print_json,
)

if TYPE_CHECKING:
    from ...toolkit.building.availability import Choice
    from ...toolkit.building.folders import Built
    from ...toolkit.building.recipes import Recipe
    from ...toolkit.building.store import Store
    from ...toolkit.gate.gold import GoldSet
    from ..search.tuned import Tuned


def capacity(
    variant: Annotated[str, typer.Argument(metavar="V", help="which variant")],
    slo: Annotated[str, typer.Option("--slo", help="p95=100ms, or several with commas")],
    is_open: Annotated[
        bool, typer.Option("--open", help="open loop: search the rate, not the users")
    ] = False,
    model: Model = "builtin", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False,
    stack: Annotated[str, typer.Option("--stack", help="reference or article")] = "reference",
    seconds: Annotated[
        float, typer.Option("--seconds", min=2, help="of each of the three confirming runs")
    ] = 20.0,
    probe: Annotated[float, typer.Option("--probe", min=1, help="seconds of a probe")] = 8.0,
    target: Target = "", key_file: ApiKeyFile = None, headers: Headers = None,
    cacert: CaCert = None, insecure: Insecure = False,
    processes: Processes = 1, workers: Workers = 0, bind: Bind = BIND, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search the highest load that keeps an objective, and confirm it by longer runs."""
    from ...toolkit.building.store import Store
    from ...toolkit.gate.examination import ensure
    from ...toolkit.gate.gold import find_gold
    from ...toolkit.runs.load import ARTICLE_STACK, CLOSED, OPEN, REFERENCE_STACK, TARGET_STACK
    from ...toolkit.runs.slo import parse_slo
    from ..load.generator import generators_from
    from ..load.greeting import greet
    from ..load.target import read_access
    from ..search.capacity import CapacityTerms
    from ..search.capacity import capacity as find_capacity
    from ..sweep.ground import Ground

    if stack not in (REFERENCE_STACK, ARTICLE_STACK):
        raise UnusableInputError(f"unknown stack {stack!r}; known: reference, article")
    where = TARGET_STACK if target else stack
    terms = CapacityTerms(parse_slo(slo), OPEN if is_open else CLOSED, probe, seconds, stack=where)
    by = generators_from(processes, workers, bind)
    gold_set = find_gold(gold)
    access = read_access(headers or (), key_file, cacert, insecure=insecure)
    access.require_used(with_url=bool(target))
    greeting = greet(access.to(target), gold_set.texts(), variant) if target else None
    store = Store(model, revision or None, recipes, convert_pickle=convert_pickle)
    built = ensure(store, [variant], gold_set)
    result = find_capacity(variant, terms, Ground.of(built, gold_set, by, greeting))
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
    variants: Annotated[
        str,
        typer.Argument(
            metavar="V", help="which variant, several with commas, or @suited: those of this CPU"
        ),
    ],
    slo: Annotated[str, typer.Option("--slo", help="p95=100ms, or several with commas")],
    budget: Annotated[
        str,
        typer.Option("--budget", help="about how long (default: 10m; more where cores are many)"),
    ] = "",
    model: Model = "builtin", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False, processes: Processes = 1,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Search the serving settings with which a variant answers most within an objective.

    Of several variants it chooses the best among those that pass the gate.
    """
    from ...reports.plots.tuning import space_picture
    from ...toolkit.building.availability import SUITED, suited
    from ...toolkit.building.store import Store
    from ...toolkit.gate.gold import find_gold
    from ...toolkit.runs.slo import parse_slo
    from ..load.generator import Generators
    from ..search.tune import require_enough
    from ..search.tune import tune as find_settings
    from ..sweep.ground import Ground

    objective, seconds = parse_slo(slo), duration(budget) if budget else None
    store = Store(model, revision or None, recipes, convert_pickle=convert_pickle)
    named, those = names(variants), suited()
    asked = those.expand(named)
    if not asked:
        raise UnusableInputError("tune needs a variant: name one, several with commas, or @suited")
    choice = store.choose(asked, optional=SUITED in named)
    if SUITED in named:
        choice = choice.beside(those.others)
    if not choice.recipes:
        raise UnusableInputError("no variant that suits this CPU can be built and run here")
    if seconds is not None:  # refuse before anything is built
        first, *others = ((r.engine, _may_share_batches(store, r)) for r in choice.recipes)
        require_enough(seconds, first[0], batches=first[1], others=others)
    gold_set = find_gold(gold)
    built = _passing(store, choice, gold_set)
    result = find_settings(
        [entry.manifest.variant for entry in built],
        objective,
        seconds,
        Ground.of(built, gold_set, Generators(processes)),
    )
    data = result.as_json()
    picture = result.run.with_suffix(".svg")
    write_text(picture, space_picture(data))
    if as_json:
        print_json(data | {"picture": str(picture)})
        return
    print_tuned(result)
    say(f"picture of the space: {picture}")


def _passing(store: Store, choice: Choice, gold: GoldSet) -> list[Built]:
    """Return the variants of a choice; of several, those that pass the gate, a line for others.

    Raises GateFailedError if none of several does.
    """
    from ...toolkit.gate.examination import ensure

    built = ensure(store, store.prepare(choice).names, gold)
    if len(choice.recipes) == 1:
        return built
    passed = [entry for entry in built if (entry.manifest.gate or {}).get("passed")]
    for entry in built:
        if entry not in passed:
            say(f"skipped: {entry.manifest.variant} does not pass the gate: run 'tiankong check'")
    if not passed:
        raise GateFailedError("none of these variants passes the gate: run 'tiankong check'")
    return passed


def _may_share_batches(store: Store, recipe: Recipe) -> bool:
    """Tell whether sentences may share a batch: by the gate's result; before it, by the recipe."""
    from ...toolkit.building.recipes import INDEPENDENT

    try:
        return store.standing(recipe.name).manifest.mates != "none"
    except UnusableInputError:  # not built yet; any other error is reported later
        return recipe.batch == INDEPENDENT


def print_tuned(result: Tuned) -> None:
    """Print the best and the default settings, and the command that serves with the best."""
    several = len(result.variants) > 1
    for word, entry in (("best", result.best), ("usual", result.usual)):
        missed = "" if entry.held else f"  (misses {result.slo})"
        name = f"{entry.variant}, " if several else ""
        print(f"{word:6}{name}{entry.choice}: {entry.qps:.4g} QPS at {entry.users} users,"
              f" 95 % interval {entry.low:.4g} to {entry.high:.4g}{missed}")  # fmt: skip
    if result.best == result.usual:
        print("nothing was confirmed to be better than the usual settings")
    elif result.best.low < result.usual.high:
        print("too close to call: the intervals overlap")
    print(f"tiankong serve --variant {result.variant} {result.best.choice.options}")
