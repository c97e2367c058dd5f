"""Run the gate over built variants and keep the result in their manifests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..building.folders import Built
from ..building.manifest import ALONE, read_manifest, write_manifest
from ..building.opening import open_variant
from ..building.recipes import REFERENCE
from ..building.store import Store
from ..console import progress
from ..engines.predictor import Predictor
from ..errors import BrokenVariantError, UnusableInputError
from ..graphs.pruning import pruned_encoder
from . import answers as kept
from .answers import Answers
from .batching import Batching, ask_in_batches, mixed
from .gold import GoldSet
from .judging import Check, broken, check, check_alone
from .probes import probes
from .published import Publication, hold, read_facts
from .same_tokens import difference


@dataclass(frozen=True)
class Gated:
    """The gate's results for one model and one gold set."""

    model: str
    gold: GoldSet
    checks: Sequence[Check]
    publication: Publication | None = None

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
            "published": None if self.publication is None else self.publication.as_json(),
            "variants": [result.as_json() for result in self.checks],
        }


@dataclass(frozen=True)
class Asked:
    """What a variant answered, and whether the answers depend on the batch."""

    answers: Answers
    batch: Batching


def gate(store: Store, variants: Sequence[Built], gold: GoldSet) -> Gated:
    """Ask every variant and the reference, compare, and write the results down.

    Each is asked the gold set and the probe sentences, one by one and in mixed batches.  The gold
    answers are kept for sweeps; each manifest gets its result.  A file brought without a model has
    no reference and is held to the gold answers.  Raises UnusableInputError if a gold answer is not
    in the model's vocabulary or a variant's files are damaged.
    """
    if all(built.manifest.model.get("source") == ALONE for built in variants):
        return _gate_alone(store.name, variants, gold)
    examination = Examination(_reference(store, variants), gold)
    names = {REFERENCE, *(built.manifest.variant for built in variants)}
    with progress("check", len(names) * examination.steps) as step:
        examination.begin(step)
        results = [examination.examine(built, step) for built in variants]
    for built, result in zip(variants, results, strict=True):
        _record(built, gold, result)
    return Gated(store.name, gold, results, examination.publication)


class Examination:
    """What every variant is asked, and what the reference answers: ask it once, examine many.

    Args:
        reference: the reference variant; its tokenizer decides which probes can be asked.
        gold: the gold set.

    Raises UnusableInputError if a gold answer is not in the model's vocabulary.

    """

    def __init__(self, reference: Built, gold: GoldSet) -> None:
        self._built = reference
        self._reference = open_variant(reference.folder)
        self._gold = gold
        self._probes = probes(self._reference.encoder)
        self._texts = {item.id: item.text for item in gold.items} | self._probes
        self.steps = len(self._texts) + sum(1 for _ in mixed(self._texts))
        self.publication: Publication | None = None
        vocabulary = self._reference.encoder.vocabulary
        for item in gold.items:
            if item.answer not in vocabulary:
                raise UnusableInputError(
                    f"gold file {gold.name}: answer {item.answer!r} of item {item.id}"
                    " is not a token of the model's vocabulary"
                )

    def begin(self, step: Callable[[str], None] = lambda _: None) -> None:
        """Ask the reference; raise BrokenVariantError if it cannot answer."""
        self._standard = self._ask(self._built, self._reference, step)
        model = self._built.manifest.model
        self.publication = hold(self._reference, model, read_facts())

    def examine(self, built: Built, step: Callable[[str], None] = lambda _: None) -> Check:
        """Ask a variant and compare; one that cannot answer fails alone."""
        name, promise = built.manifest.variant, built.manifest.recipe.promise
        if name == REFERENCE:
            given = self._standard
        else:
            predictor = open_variant(built.folder)
            right = self._reference.encoder
            if "prune-vocabulary" in built.manifest.recipe.steps:
                right = pruned_encoder(right)
            if wrong := difference(predictor.encoder, right, self._texts.values()):
                return broken(name, f"its tokenizer is not {REFERENCE}'s: {wrong}")
            try:
                given = self._ask(built, predictor, step)
            except BrokenVariantError as error:
                return broken(name, str(error))
        result = check(given.answers, self._standard.answers, self._gold, promise, given.batch)
        return _of_its_name(result, self.publication) if name == REFERENCE else result

    def alone(self, step: Callable[[str], None] = lambda _: None) -> Check:
        """Ask the variant and hold it to the gold answers only."""
        promise = self._built.manifest.recipe.promise
        try:
            given = self._ask(self._built, self._reference, step)
        except BrokenVariantError as error:
            return broken(self._built.manifest.variant, str(error))
        return check_alone(given.answers, self._gold, promise, given.batch)

    def _ask(self, built: Built, predictor: Predictor, step: Callable[[str], None]) -> Asked:
        manifest = built.manifest

        def tick() -> None:
            step(manifest.variant)

        given = kept.ask(predictor, self._gold, manifest.digest, tick, self._probes)
        alone = {name: [ranking] for name, ranking in given.rankings.items()} | dict(given.probes)
        declared, promise = manifest.recipe.batch, manifest.recipe.promise
        batch = ask_in_batches(predictor, self._texts, alone, declared, promise, tick)
        kept.save(given)
        return Asked(given, batch)


def _of_its_name(result: Check, publication: Publication | None) -> Check:
    """Fail a reference that bears a checkpoint's name and does not answer as published."""
    if publication is None or publication.same or not publication.named:
        return result
    reason = f"not what {publication.checkpoint} answers: {publication.differences[0]}"
    return replace(result, passed=False, reasons=[*result.reasons, reason])


def _gate_alone(model: str, variants: Sequence[Built], gold: GoldSet) -> Gated:
    results = []
    for built in variants:
        examination = Examination(built, gold)
        with progress("check", examination.steps) as step:
            results.append(examination.alone(step))
        _record(built, gold, results[-1])
    return Gated(model, gold, results)


def ensure(store: Store, names: Sequence[str], gold: GoldSet) -> list[Built]:
    """Return variants with a gate result on this gold set; those without one are asked now.

    They come from :meth:`.Store.get`, with the reference beside them.
    """
    variants = store.get(names, reference=True)
    missing = [built for built in variants if not _is_gated(built, gold)]
    if missing:
        gate(store, missing, gold)
    return [store.standing(built.manifest.variant) for built in variants]


def _is_gated(built: Built, gold: GoldSet) -> bool:
    result = built.manifest.gate or {}
    return result.get("gold_sha256") == gold.digest and kept.exists(built.manifest.digest, gold)


def _reference(store: Store, variants: Sequence[Built]) -> Built:
    for built in variants:
        if built.manifest.variant == REFERENCE:
            return built
    return store.standing(REFERENCE)


def _record(built: Built, gold: GoldSet, result: Check) -> None:
    summary = result.as_json() | {"gold": gold.name, "gold_sha256": gold.digest}
    if kept.exists(built.manifest.digest, gold):
        answers = kept.load(built.manifest.variant, built.manifest.digest, gold)
        summary["expected"] = kept.clearest(answers, gold)
    # Read again: the file may have got another result since the variant was looked at.
    write_manifest(built.folder, read_manifest(built.folder).with_gate(summary))
