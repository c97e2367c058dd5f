"""The workshop, which makes the variants of one loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from ..console import say
from ..engines.text import TextEncoder, TextError
from ..errors import BrokenVariantError
from ..files import folder_written_whole, give_memory_back, write_json
from ..machine import fingerprint, versions
from ..models.families import family
from ..models.info import LoadedModel
from ..models.tokenizer_files import write_tokenizer
from ..models.tokens import MASK, UNK
from .calibration import NOTE as CALIBRATION_NOTE
from .calibration import Calibration, asked_in_many_ways, read_calibration
from .comparison import NOT_COMPARED, ProbeAnswers, compare_with_plain
from .folders import Built
from .manifest import EIGHT_BITS, Manifest, record_files, write_manifest
from .opening import open_variant
from .recipes import FIXED, REFERENCE, Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from ..engines.predictor import Predictor
    from ..graphs.steps import Origin

PROBES = (MASK, f"今天天气真{MASK}啊。")


@dataclass(frozen=True)
class SourceModel:
    """A model's tokenizer and configuration; ``kept``: the ids that a pruned vocabulary keeps."""

    tokenizer: Tokenizer
    config: dict[str, Any]
    positions: int
    kept: Sequence[int] = ()

    def pruned(self) -> SourceModel:
        """Return the same with the vocabulary pruned."""
        from ..graphs import pruning

        kept = pruning.kept_ids(self.tokenizer)
        tokenizer = pruning.prune_tokenizer(self.tokenizer, kept)
        config = pruning.prune_config(self.config, kept)
        return SourceModel(tokenizer, config, self.positions, kept)

    def origin(self, calibration: Calibration, written: Sequence[Sequence[int]]) -> Origin:
        """Return what steps need to know about it.

        ``written``: sentences as ids of the whole vocabulary, to be used instead of a file's.
        """
        from ..graphs.steps import Origin

        encoder = TextEncoder(self.tokenizer, self.positions)
        new = {old: place for place, old in enumerate(self.kept)}
        unknown = encoder.vocabulary.get(UNK, encoder.mask_id)
        sentences = [[new.get(i, unknown) for i in ids] if new else list(ids) for ids in written]
        batches = asked_in_many_ways(encoder, sentences or calibration.encode(encoder))
        return Origin(self.config, encoder.mask_id, batches, self.kept)


class Workshop:
    """Makes variants of one loaded model; graphs that recipes share are made once.

    ``loaded`` is the model, ``scratch`` a folder for files that recipes share.  ``step`` is called
    with a few words before each piece of work.  ``calibration`` has the sentences for 8 bits.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        scratch: Path,
        step: Callable[[str], None],
        calibration: Calibration | None = None,
    ) -> None:
        self.loaded = loaded
        self.calibration = calibration or read_calibration()
        self.scratch = scratch
        self.step = step
        self._graphs: dict[tuple[tuple[str, ...], float | None], Path] = {}
        self._origins: dict[bool, Origin] = {}
        self._answers = ProbeAnswers.of(loaded)
        self._compared = ""
        self._own: list[list[int]] | None = None  # calibration sentences that the model wrote

    def compare(self) -> None:
        """Compare the network with what plain transformers loads from the model's folder.

        Raises UnusableInputError if they differ; says so if transformers cannot be the judge.
        """
        if self.loaded.folder is not None:
            self.step("compare with plain transformers")
        self._compared = compare_with_plain(self.loaded, self._answers)
        give_memory_back()
        if self._compared.startswith(NOT_COMPARED):
            say(f"{self.loaded.info.name}: {self._compared}")

    def build(self, recipe: Recipe, folder: Path) -> Built:
        """Make one variant and try it; its folder is written completely or not at all."""
        source = self.source(recipe.steps)
        with folder_written_whole(folder) as place:
            inputs = family(source.config).inputs
            write_tokenizer(place, source.tokenizer, source.positions, inputs)
            (place / recipe.file).parent.mkdir(parents=True, exist_ok=True)
            found = resolve_name(recipe.kind.builder)(self, recipe, place) or {}
            _tell_kept(recipe.name, found.get(EIGHT_BITS, {}))
            write_json(place / "config.json", source.config)
            manifest = self._manifest(recipe, place, source, found)
            write_manifest(place, manifest)
            self.step(f"{recipe.name}: verify")
            predictor = _verified(place)
            if recipe.name == REFERENCE:
                self._answers.require_same(
                    "the reference as it was written and read again", predictor.engine.logits
                )
        return Built(folder, manifest, skipped=False)

    def graph(self, recipe: Recipe, steps: tuple[str, ...] | None = None) -> Path:
        """Return the ONNX file that a recipe's steps make; equal parts of chains are made once.

        ``steps`` is a part of the chain, from its beginning; without it, it is the whole.
        """
        from ..graphs import steps as graphs
        from ..graphs.equalization import equalized

        steps = recipe.steps if steps is None else steps
        budget = recipe.budget if FIXED in steps else None
        if (steps, budget) in self._graphs:
            return self._graphs[steps, budget]
        if len(steps) == 1:
            target = self.scratch / f"{steps[0]}.onnx"
            self.step(f"{recipe.name}: export")
            with equalized(self.loaded.network):
                graphs.export(self.loaded.network, target)
        else:
            # Consecutive rewrites change one graph in memory, without files of 400 MB between them.
            last = list(takewhile(lambda step: step in graphs.REWRITES, reversed(steps)))[::-1]
            last = last or [steps[-1]]
            source = self.graph(recipe, steps[: -len(last)])
            target = self.scratch / f"{len(self._graphs)}-{steps[-1]}.onnx"
            for step in last:
                self.step(f"{recipe.name}: {step}")
            graphs.make(source, target, last, replace(self.origin(steps), budget=budget))
        self._graphs[steps, budget] = target
        give_memory_back()
        return target

    def source(self, steps: Sequence[str]) -> SourceModel:
        """Return tokenizer and configuration as they are after some steps."""
        loaded = self.loaded
        model = SourceModel(loaded.tokenizer, loaded.config, loaded.info.positions)
        return model.pruned() if "prune-vocabulary" in steps else model

    def origin(self, steps: Sequence[str]) -> Origin:
        """Return what the step after some steps needs to know about the model."""
        source = self.source(steps)
        pruned = bool(source.kept)
        if pruned not in self._origins:
            self._origins[pruned] = source.origin(self.calibration, self._written())
        return self._origins[pruned]

    def _written(self) -> list[list[int]]:
        """Return the sentences that the model writes itself, if no others fit it."""
        if self._own is None:
            encoder = TextEncoder(self.loaded.tokenizer, self.loaded.info.positions)
            self._own = []
            if not (self.calibration.given or self.calibration.fits(encoder)):
                from .own_sentences import written

                say("calibration: the tokenizer knows few of the shipped sentences' tokens, so the"
                    " model writes its own: name better ones by --calibration")  # fmt: skip
                self.step("write calibration sentences")
                self._own = written(self.loaded.network, encoder)
        return self._own

    def _manifest(
        self, recipe: Recipe, folder: Path, source: SourceModel, found: Mapping[str, Any]
    ) -> Manifest:
        notes = dict(found)
        if self.loaded.remarks:
            notes["checkpoint"] = "; ".join(self.loaded.remarks)
        if self._compared and recipe.name == REFERENCE:
            notes["reference"] = self._compared
        if self.loaded.pickles:
            files = [f"{name} (SHA-256 {sha})" for name, sha in self.loaded.pickles.items()]
            notes["pickle"] = f"weights converted from {', '.join(files)}"
        if "int8-dynamic" in recipe.steps:
            notes["batch"] = "an answer can depend on its neighbours in a batch (dynamic scales)"
        if "int8-static" in recipe.steps:
            notes["batch"] = "an answer does not depend on its neighbours in a batch (fixed scales)"
            if self.calibration.given:
                notes[CALIBRATION_NOTE] = self.calibration.note
            elif self._own:
                notes["sentences"] = (
                    f"calibrated on {len(self._own)} sentences that the model wrote"
                )
        if source.kept:
            whole = int(self.loaded.config["vocab_size"])
            notes["vocabulary"] = (
                f"{len(source.kept)} of {whole} tokens: Latin words and numbers are spelled"
                " character by character, and what was left out is no answer"
            )
        return Manifest(
            variant=recipe.name,
            model=self.loaded.info.as_json(),
            recipe=recipe,
            files=record_files(folder),
            versions=versions(*recipe.makers),
            machine=fingerprint(),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=notes,
            sources=self.loaded.sources,
        )


def _tell_kept(name: str, facts: Mapping[str, Any]) -> None:
    """Say which part of an 8-bit variant stays in float32."""
    if kept := facts.get("float32"):
        say(
            f"{name}: {len(kept)} products stay in float32, {sum(kept.values()):.0%} of the"
            f" multiply-adds; in 8 bits alone answers diverge by {facts['all_in_8_bits']} nats, the"
            f" budget is {facts['budget']}"
        )


def _verified(folder: Path) -> Predictor:
    """Open the written folder, which checks its digests, and ask it the probe sentences.

    Returns its predictor.
    """
    predictor = open_variant(folder)
    for probe in PROBES:
        try:
            (answer,) = predictor.predict([probe])
        except TextError:  # a model with few positions cannot be asked
            continue
        if len(answer[0]) != 5:
            raise BrokenVariantError(f"{predictor.name} does not answer {probe!r}")
    return predictor
