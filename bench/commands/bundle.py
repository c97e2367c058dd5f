"""The command ``bundle``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...server.commands import takes
from ...server.settings import Settings, table
from ...toolkit.console import say
from ...toolkit.options import ConvertPickle, Gold, Model, Recipes, Revision

# No paths: those of this machine do not exist in a container.  No replicas: the cluster has them.
OWN = [row for row in table("speed", "requests", "connections") if row.kind is not Path]


@takes(OWN)
def bundle(
    settings: Settings,
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="which variant")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a new folder")],
    model: Model = "builtin", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False,
    cores: Annotated[
        int, typer.Option("--cores", min=0, help="CPUs of each replica (0: usable cores)")
    ] = 0,
    replicas: Annotated[int, typer.Option("--replicas", min=1, help="at least so many pods")] = 2,
    most_replicas: Annotated[
        int, typer.Option("--max-replicas", min=1, help="at most so many pods")
    ] = 8,
    image: Annotated[
        str, typer.Option("--image", help="the image's name (tiankong-VARIANT:VERSION-DIGEST)")
    ] = "",
) -> None:  # fmt: skip
    """Write a deployment folder: variant, package, locked requirements, container, manifests.

    A server is started once to measure what memory to ask for; pip resolves the requirements.
    """
    from ...server.bundle.bundle import BundleTerms, require_possible, write_bundle
    from ...toolkit.building.store import Store
    from ...toolkit.errors import UnusableInputError
    from ...toolkit.gate.examination import warnings_of
    from ...toolkit.gate.gold import find_gold
    from ...toolkit.machine import usable_cores
    from ..serving.footprint import measure

    terms = BundleTerms(image, replicas, most_replicas)
    if cores > usable_cores():
        raise UnusableInputError(f"{cores} cores cannot be measured: {usable_cores()} are usable")
    cores = cores or usable_cores()
    gold_set = find_gold(gold)
    (built,) = Store(model, revision or None, recipes, convert_pickle=convert_pickle).get([variant])
    require_possible(folder, built.manifest)
    if built.manifest.gate is None:
        say(f"bundle: the gate has not seen {variant} yet: run 'tiankong check' first")
    for warning in warnings_of(built.manifest):
        say(f"bundle: warning: {warning}")
    settings = replace(settings, folder=built.folder)
    say("bundle: a server is started and asked")
    measured = measure(settings, gold_set, cores)
    say("bundle: the requirements are resolved")
    pins = write_bundle(folder, built, settings, measured, terms)
    print(f"{folder}: {variant}, {len(pins)} distributions locked; memory"
          f" {measured.memory_request} MiB asked for, at most {measured.memory_limit} MiB;"
          f" begin with {folder / 'README.md'}")  # fmt: skip
