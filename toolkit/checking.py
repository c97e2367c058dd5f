"""Run the gate over built variants and keep the result in their manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import answers as kept
from .answers import Answers
from .brought import Offer, bring
from .build import Built, at_hand, standing
from .console import progress
from .errors import BrokenVariantError, UnusableInputError
from .gate import Check, broken, check, check_alone
from .gold import BUILTIN, HELDOUT, GoldSet, read_gold
from .manifest import ALONE, read_manifest, write_manifest
from .predictor import open_variant
from .recipes import REFERENCE, read_recipes

NAMED = {"builtin": BUILTIN, "heldout": HELDOUT}


@dataclass(frozen=True)
class Gated:
    """The gate's results for one model and one gold set."""

    model: str
    gold: GoldSet
    checks: Sequence[Check]

    @property
    def passed(self) -> bool:
        """Whether every variant passed."""
        return all(result.passed for result in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return the results as one JSON object."""
        return {
            "model": self.model,
            "gold": self.gold.name,
            "gold_sha256": self.gold.digest,
            "items": len(self.gold.items),
            "variants": [result.as_json() for result in self.checks],
        }


def find_gold(gold: str) -> GoldSet:
    """Return a gold set: ``builtin``, ``heldout``, or the path of a file."""
    return read_gold(NAMED.get(gold, Path(gold)))


def at_hand_named(model: str, names: Sequence[str]) -> list[Built]:
    """Return variants by name (none: all), and see that the reference stands beside them.

    What was never built is built now; what is damaged is refused (:func:`.build.at_hand`).
    """
    found = at_hand(model, read_recipes([*names, REFERENCE] if names else []))
    return [built for built in found if not names or built.manifest.variant in names]


def at_hand_offered(
    offer: Offer | None, model: str, names: Sequence[str]
) -> tuple[str, list[Built]]:
    """Return a model's name and its variants; with an offer, what is brought and those named.

    What is brought without a model has that of its tokenizer's folder as name.
    """
    if offer is None:
        return model, at_hand_named(model, names)
    if names and not offer.model:
        raise UnusableInputError("--variants beside --onnx are a model's: name it by --model")
    brought = bring(offer)
    beside = at_hand_named(offer.model, names) if names else []
    return brought.folder.parent.name if not offer.model else offer.model, [brought, *beside]


def gate(model: str, variants: Sequence[Built], gold: GoldSet) -> Gated:
    """Ask every variant and the reference, compare, and write the results down.

    The answers are kept for sweeps; each manifest gets its result.  A file brought without a model
    has no reference and is held to the gold answers.  Raises UnusableInputError if a gold answer is
    not in the model's vocabulary or a variant's files are damaged.
    """
    if all(built.manifest.model.get("source") == ALONE for built in variants):
        return _gate_alone(model, variants, gold)
    reference = _reference(model, variants)
    everyone = {built.manifest.variant: built for built in (reference, *variants)}
    with progress("check", len(everyone) * len(gold.items)) as step:
        asked = {name: _ask(built, gold, step) for name, built in everyone.items()}
    standard = asked[REFERENCE]
    if isinstance(standard, Check):
        raise BrokenVariantError(f"{REFERENCE}: {standard.reasons[0]}")
    results = []
    for built in variants:
        given = asked[built.manifest.variant]
        promise = built.manifest.recipe.promise
        result = given if isinstance(given, Check) else check(given, standard, gold, promise)
        results.append(result)
        _record(built, gold, result)
    return Gated(model, gold, results)


def _gate_alone(model: str, variants: Sequence[Built], gold: GoldSet) -> Gated:
    results = []
    with progress("check", len(variants) * len(gold.items)) as step:
        for built in variants:
            given = _ask(built, gold, step)
            promise = built.manifest.recipe.promise
            result = given if isinstance(given, Check) else check_alone(given, gold, promise)
            results.append(result)
            _record(built, gold, result)
    return Gated(model, gold, results)


def gated(model: str, variants: Sequence[Built], gold: GoldSet) -> list[Built]:
    """Return the variants with a gate result on this gold set; those without one are asked now."""
    missing = [built for built in variants if not _is_gated(built, gold)]
    if missing:
        gate(model, missing, gold)
    return [standing(model, built.manifest.variant) for built in variants]


def _is_gated(built: Built, gold: GoldSet) -> bool:
    result = built.manifest.gate or {}
    return result.get("gold_sha256") == gold.digest and kept.exists(built.manifest.digest, gold)


def _reference(model: str, variants: Sequence[Built]) -> Built:
    for built in variants:
        if built.manifest.variant == REFERENCE:
            return built
    return standing(model, REFERENCE)


def _ask(built: Built, gold: GoldSet, step: Callable[[str], None]) -> Answers | Check:
    """Return a variant's answers, or the failed check of one that cannot give any."""
    name = built.manifest.variant
    predictor = open_variant(built.folder)
    vocabulary = predictor.encoder.vocabulary
    for item in gold.items:
        if item.answer not in vocabulary:
            raise UnusableInputError(
                f"gold file {gold.name}: answer {item.answer!r} of item {item.id}"
                " is not a token of the model's vocabulary"
            )
    try:
        given = kept.ask(predictor, gold, built.manifest.digest, lambda: step(name))
    except BrokenVariantError as error:
        return broken(name, str(error))
    kept.save(given)
    return given


def _record(built: Built, gold: GoldSet, result: Check) -> None:
    summary = result.as_json() | {"gold": gold.name, "gold_sha256": gold.digest}
    # Read again: the file may have got another result since the variant was looked at.
    write_manifest(built.folder, read_manifest(built.folder).with_gate(summary))
