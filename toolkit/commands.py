"""The toolkit's commands: models, build, check, predict, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .engines.outputs import DEPTH, TOP
from .errors import GateFailedError, UnusableInputError
from .options import (
    AsJson,
    CalibrationFile,
    ConvertPickle,
    Gold,
    HitAt5,
    Model,
    Onnx,
    Output,
    PromiseOf,
    Recipes,
    Revision,
    TokenizerFolder,
    Variants,
    names,
    print_json,
)

if TYPE_CHECKING:
    from .building.folders import Built
    from .gate.examination import Gated
    from .gate.judging import Check


def models(as_json: AsJson = False) -> None:
    """List what can be measured here, with geometry and size."""
    from .models.loading import list_models

    known = list_models()
    if as_json:
        print_json({"models": [info.as_json() for info in known]})
        return
    for info in known:
        print(
            f"{info.name:<32} {info.layers} x {info.hidden}, {info.heads} heads,"
            f" vocabulary {info.vocabulary}, {info.parameters / 1e6:.1f} M parameters,"
            f" {info.parameters * 4 / 1e6:.0f} MB in float32"
        )


def build(
    model: Model = "builtin", variants: Variants = "", revision: Revision = "",
    recipes: Recipes = None, convert_pickle: ConvertPickle = False,
    calibration: CalibrationFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make variants: recipes to artifacts/variants/<model>/<variant>/."""
    from .building.store import Store
    from .gate.examination import warnings_of

    store = Store(
        model, revision or None, recipes, convert_pickle=convert_pickle, calibration=calibration
    )
    built, choice = store.build_chosen(store.choose(names(variants)))
    if as_json:
        entries = [b.manifest.as_json() | _folder_json(b) for b in built]
        print_json({"model": model, "variants": entries, "skipped": choice.skipped_json()})
        return
    for entry in built:
        state = "unchanged" if entry.skipped else "built"
        size = entry.manifest.model_file_size / 1e6
        print(f"{entry.manifest.variant:<16} {size:7.1f} MB  {state}: {entry.folder}")
        for warning in warnings_of(entry.manifest):
            print(f"  warning: {warning}")


def _folder_json(built: Built) -> dict[str, Any]:
    return {"folder": str(built.folder), "skipped": built.skipped}


def check(
    model: Model = "", variants: Variants = "", gold: Gold = "builtin", recipes: Recipes = None,
    revision: Revision = "", convert_pickle: ConvertPickle = False,
    calibration: CalibrationFile = None,
    onnx: Onnx = None, tokenizer: TokenizerFolder = None, output: Output = "",
    promise: PromiseOf = "",
    hit_at_5: HitAt5 = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Gate: do the answers still hold?  One line a variant, flipped items named.

    With --onnx a file of your own is checked: with --model, against that model's reference, without
    it, against the gold answers only.
    """
    from .building.availability import NOTHING
    from .building.offer import read_promised_offer
    from .building.store import Store
    from .gate.examination import gate
    from .gate.gold import find_gold

    gold_set = find_gold(gold)
    offer = read_promised_offer(onnx, tokenizer, model, promise, hit_at_5, recipes, output)
    model = model if offer else model or "builtin"
    store = Store(
        model,
        revision or None,
        recipes,
        offer,
        convert_pickle=convert_pickle,
        calibration=calibration,
    )
    choice = NOTHING if offer else store.prepare(store.choose(names(variants)))
    wanted = names(variants) if offer else choice.names
    gated = gate(store, store.get(wanted, reference=True), gold_set)
    if as_json:
        print_json(gated.as_json() | {"skipped": choice.skipped_json()})
    else:
        print_gate(gated)
    require_passed(gated)


def predict(
    text: Annotated[str, typer.Argument(help="a sentence with [MASK]")],
    model: Model = "builtin",
    variant: Annotated[str, typer.Option("--variant", help="which variant (onnx-int8)")] = "",
    top_k: Annotated[int, typer.Option("--top-k", min=1, max=DEPTH, help="tokens a [MASK]")] = TOP,
    recipes: Recipes = None,
    revision: Revision = "",
    convert_pickle: ConvertPickle = False,
    onnx: Onnx = None,
    tokenizer: TokenizerFolder = None,
    output: Output = "",
    as_json: AsJson = False,
) -> None:
    """Answer one sentence: the most probable tokens for every [MASK]."""
    from .building.offer import read_offer
    from .building.opening import open_variant
    from .building.store import Store
    from .engines.predictor import as_body
    from .engines.text import TextError

    offer = read_offer(onnx, tokenizer, output)
    built = Store(
        "" if offer else model, revision or None, recipes, offer, convert_pickle=convert_pickle
    ).to_open(variant)
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


def export(
    triton: Annotated[Path, typer.Option("--triton", help="a new folder: the model repository")],
    model: Model = "builtin",
    variants: Variants = "",
    recipes: Recipes = None,
    revision: Revision = "",
    convert_pickle: ConvertPickle = False,
    instances: Annotated[int, typer.Option("--instances", min=1, help="of each model")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=0, help="each; 0: all cores")] = 0,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, help="sentences at once")] = 16,
) -> None:
    """Write a model repository for Triton Inference Server (all ONNX variants, or those named)."""
    from .building.recipes import read_recipes
    from .building.store import Store
    from .building.triton import Running, write_repository

    known = read_recipes(own_recipes=recipes)
    wanted = names(variants) or [recipe.name for recipe in known if recipe.kind.triton]
    built = Store(model, revision or None, recipes, convert_pickle=convert_pickle).get(wanted)
    for folder in write_repository(triton, built, Running(instances, threads, max_batch)):
        print(folder)


def require_passed(gated: Gated) -> None:
    """Raise GateFailedError naming the variants that failed."""
    failed = [result.variant for result in gated.checks if not result.passed]
    if failed:
        raise GateFailedError(f"the gate failed for {', '.join(failed)}")


def print_gate(gated: Gated) -> None:
    """Print one line a variant, its categories, broken promises, warnings and flipped items."""
    print(f"model {gated.model}, gold set {gated.gold.name} ({len(gated.gold.items)} items)")
    _print_publication(gated)
    for result in gated.checks:
        verdict = "FAILED" if not result.passed else "passed" if result.judged else "not judged"
        print(
            f"{result.variant:<16} {verdict}  hit@1 {result.hit_at_1:.1%}"
            f"  hit@5 {result.hit_at_5:.1%}  {_agreement(result)}{_batch(result)}"
        )
        for category, hits in result.categories.items():
            print(
                f"  {category:<14} {hits.items:4} items"
                f"  hit@1 {hits.hit_at_1:.1%}  hit@5 {hits.hit_at_5:.1%}"
            )
        for reason in result.reasons:
            print(f"  broken promise: {reason}")
        for warning in result.warnings:
            print(f"  warning: {warning}")
        for flip in result.agreement.flipped if result.agreement else ():
            print(f"  flipped {flip.id}: {flip.text} {flip.reference} -> {flip.variant}")


def _batch(result: Check) -> str:
    if result.batch is None:
        return ""
    return f"  {'same' if result.batch.independent else 'other answers'} in batches"


def _print_publication(gated: Gated) -> None:
    """Print whether the model is the checkpoint whose known predictions it was checked against."""
    publication = gated.publication
    if publication is None:
        return
    kind = "" if publication.checkpoint == "builtin" else "published "
    if publication.same:
        facts = publication.facts
        print(f"this is the {kind}checkpoint {publication.checkpoint}: {facts} predictions agree")
        return
    print(f"this is not the {kind}checkpoint {publication.checkpoint}:")
    for difference in publication.differences:
        print(f"  {difference}")


def _agreement(result: Check) -> str:
    alike = result.agreement
    if alike is None:
        more = "" if result.judged else "; to be judged, give --model or --hit-at-5"
        return f"compared with no reference{more}"
    return (
        f"same top-1 {alike.top1:.1%}  same top-5 {alike.top5:.1%} (ordered {alike.order:.1%})"
        f"  max difference {alike.max_delta:.1e}"
        f"  divergence {alike.far.mean:.1e} (worst {alike.far.worst:.1e})"
    )
