"""Run the gate over built variants and write the results into their manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..building.folders import Built
from ..building.manifest import ALONE, Manifest, read_manifest, write_manifest
from ..building.opening import open_variant
from ..building.recipes import REFERENCE, Recipe
from ..building.store import Store
from ..console import progress, say
from ..engines.predictor import Predictor
from ..engines.text import TextEncoder
from ..errors import BrokenVariantError, UnusableInputError
from ..graphs.pruning import pruned_encoder
from . import answers as stored
from .answers import Answers
from .batching import Batching, ask_in_batches, mixed
from .gold import GoldSet
from .judging import Check, broken, check
from .probes import probes
from .published import Publication, hold, read_facts
from .same_tokens import difference

# Keys of the latest results.  A result without one is older than the question whether the model
# knows anything, or than the lists that a report shows: the gate runs again.
LATEST = {"guessing", "furthest"}


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
class Exam:
    """What every variant is asked: the gold set and the probe sentences, alone and in batches.

    The answers in ``gold`` are tokens, as the reference's tokenizer reads them.
    ``encoder`` is the reference's tokenizer: every variant has to give the same tokens.  ``texts``
    are all sentences by id; ``steps`` counts the calls, for the progress bar.
    """

    gold: GoldSet
    encoder: TextEncoder
    probes: Mapping[str, str]
    texts: Mapping[str, str]
    steps: int

    @classmethod
    def of(cls, gold: GoldSet, encoder: TextEncoder) -> Exam:
        """Return the exam with every probe sentence that this tokenizer can encode.

        Raises UnusableInputError if a gold answer is not in its vocabulary.
        """
        gold = gold.as_read(encoder)
        probed = probes(encoder)
        texts = {item.id: item.text for item in gold.items} | probed
        return cls(gold, encoder, probed, texts, len(texts) + sum(1 for _ in mixed(texts)))

    def require_same_tokens(self, predictor: Predictor, recipe: Recipe) -> None:
        """Raise BrokenVariantError unless a variant splits the sentences into the right tokens."""
        pruned = "prune-vocabulary" in recipe.steps
        right = pruned_encoder(self.encoder) if pruned else self.encoder
        if wrong := difference(predictor.encoder, right, self.texts.values()):
            raise BrokenVariantError(f"its tokenizer is not {REFERENCE}'s: {wrong}")


@dataclass(frozen=True)
class Asked:
    """What a variant answered, and whether the answers depend on the batch."""

    manifest: Manifest
    answers: Answers
    batch: Batching


Step = Callable[[str], None]


def _no_step(_: str) -> None:
    pass


def ask(predictor: Predictor, manifest: Manifest, exam: Exam, step: Step = _no_step) -> Asked:
    """Ask a variant everything and store its answers to the gold set.

    Raises BrokenVariantError if it cannot answer, or its tokenizer is not the reference's.
    """
    exam.require_same_tokens(predictor, manifest.recipe)

    def tick() -> None:
        step(manifest.variant)

    answers = stored.ask(predictor, exam.gold, manifest.digest, tick, exam.probes)
    alone = {name: [ranking] for name, ranking in answers.rankings.items()} | dict(answers.probes)
    declared, promise = manifest.recipe.batch, manifest.recipe.promise
    batch = ask_in_batches(predictor, exam.texts, alone, declared, promise, tick)
    stored.save(answers)
    return Asked(manifest, answers, batch)


def compare(asked: Asked, standard: Asked | None, exam: Exam) -> Check:
    """Check a variant's answers against its promise; ``standard``: the reference's, if any."""
    reference = None if standard is None else standard.answers
    promise = asked.manifest.recipe.promise
    return check(asked.answers, reference, exam.gold, promise, asked.batch, exam.probes)


def examine(
    predictor: Predictor,
    manifest: Manifest,
    exam: Exam,
    standard: Asked | None,
    step: Step = _no_step,
) -> Check:
    """Ask a variant and compare; if it cannot answer, its check fails and no error is raised."""
    try:
        return compare(ask(predictor, manifest, exam, step), standard, exam)
    except BrokenVariantError as error:
        return broken(manifest.variant, str(error))


def gate(store: Store, variants: Sequence[Built], gold: GoldSet) -> Gated:
    """Ask every variant and the reference, compare, and write the results into the manifests.

    Each is asked the gold set and the probe sentences, one by one and in mixed batches.  Answers to
    the gold set are stored for sweeps.  A variant from a user's ONNX file without a model has no
    reference: only its answers to the gold set count.  Raises UnusableInputError if a gold answer
    is not in the model's vocabulary or a variant's files are damaged, BrokenVariantError if the
    reference cannot answer.
    """
    if all(built.manifest.model.get("source") == ALONE for built in variants):
        return _gate_alone(store.name, variants, gold)
    reference = _reference(store, variants)
    predictor = open_variant(reference.folder)
    exam = Exam.of(gold, predictor.encoder)
    names = {REFERENCE, *(built.manifest.variant for built in variants)}
    with progress("check", len(names) * exam.steps) as step:
        standard = ask(predictor, reference.manifest, exam, step)
        publication = hold(predictor, reference.manifest.model, read_facts())
        results = [
            _with_publication(compare(standard, standard, exam), publication)
            if built.manifest.variant == REFERENCE
            else examine(open_variant(built.folder), built.manifest, exam, standard, step)
            for built in variants
        ]
    for built, result in zip(variants, results, strict=True):
        _record(built, gold, result)
    return Gated(store.name, gold, results, publication)


def _with_publication(result: Check, publication: Publication | None) -> Check:
    """Fail a reference that has a checkpoint's name and does not answer as published."""
    if publication is None or publication.same or not publication.named:
        return result
    reason = f"not what {publication.checkpoint} answers: {publication.differences[0]}"
    return replace(result, reasons=[*result.reasons, reason])


def _gate_alone(model: str, variants: Sequence[Built], gold: GoldSet) -> Gated:
    results = []
    for built in variants:
        predictor = open_variant(built.folder)
        exam = Exam.of(gold, predictor.encoder)
        with progress("check", exam.steps) as step:
            results.append(examine(predictor, built.manifest, exam, None, step))
        _record(built, gold, results[-1])
    return Gated(model, gold, results)


def ensure(store: Store, names: Sequence[str], gold: GoldSet) -> list[Built]:
    """Return variants that have a gate result on this gold set; the gate runs for those without.

    They come from :meth:`.Store.get`, which also makes the reference ready.  The gate's warnings
    are said, a line each.
    """
    variants = store.get(names, reference=True)
    missing = [built for built in variants if not _is_gated(built, gold)]
    if missing:
        gate(store, missing, gold)
    gated = [built.again() for built in variants]
    for built in gated:
        for warning in warnings_of(built.manifest):
            say(f"warning: {built.manifest.variant}: {warning}")
    return gated


def warnings_of(manifest: Manifest) -> list[str]:
    """Return the warnings of a variant's last gate result; none if it was not gated."""
    return [str(warning) for warning in (manifest.gate or {}).get("warnings", ())]


def _is_gated(built: Built, gold: GoldSet) -> bool:
    result = built.manifest.gate or {}
    if not result.keys() >= LATEST:
        return False
    return result.get("gold_sha256") == gold.digest and stored.exists(built.manifest.digest, gold)


def _reference(store: Store, variants: Sequence[Built]) -> Built:
    """Return the reference; raise UnusableInputError unless all are of the same model."""
    named = [built for built in variants if built.manifest.variant == REFERENCE]
    reference = named[0] if named else store.standing(REFERENCE)
    for built in variants:
        if not built.manifest.is_of_model(reference.manifest):
            raise UnusableInputError(
                f"{built.folder} and {reference.folder} were made of different models or revisions:"
                " build both again"
            )
    return reference


def _record(built: Built, gold: GoldSet, result: Check) -> None:
    summary = result.as_json() | {"gold": gold.name, "gold_sha256": gold.digest}
    if stored.exists(built.manifest.digest, gold):
        answers = stored.load(built.manifest.variant, built.manifest.digest, gold)
        summary["expected"] = stored.clearest(answers, gold)
    # Read the manifest again: another process may have written a result meanwhile.
    write_manifest(built.folder, read_manifest(built.folder).with_gate(summary))
