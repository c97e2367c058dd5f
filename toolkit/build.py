"""Build variants: a model and a recipe make a folder, written whole or not at all."""

from __future__ import annotations

import copy
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import progress
from .errors import BrokenVariantError, UnusableInputError
from .families import family, why_not
from .files import (
    artifacts,
    folder_written_whole,
    give_memory_back,
    require_disk,
    require_memory,
    write_json,
)
from .machine import fingerprint, versions
from .manifest import NAME as MANIFEST
from .manifest import Manifest, read_manifest, record_files, write_manifest
from .model_info import LoadedModel, ModelInfo
from .models import config_of, list_models, load_model
from .opening import open_variant
from .recipes import Recipe
from .text import TextEncoder, TextError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from .graphs import Origin

CALIBRATION = Path(__file__).parent / "calibration.txt"  # no sentence of the gold sets
PROBES = ("[MASK]", "今天天气真[MASK]啊。")
BYTES_PER_PARAMETER = 4
# Float32 copies on the disk at once: two intermediate graphs beside the one being written.
SCRATCH_COPIES = 4
# Float32 copies in memory at once: the network and what loads it; for a graph also the exporter's,
# protobuf's and the optimizer's (measured at the geometry of bert-base-chinese: 10.9).
NETWORK_COPIES, GRAPH_COPIES = 3, 11
BUILDERS = {
    "pytorch": ("torch", "transformers"),
    "onnxruntime": ("torch", "transformers", "onnx", "onnxruntime"),
    "openvino": ("torch", "transformers", "openvino", "nncf"),
}
"""The libraries that make an engine's variants: another version makes them anew."""


@dataclass(frozen=True)
class Built:
    """What became of one variant: its folder, its manifest, and whether it was there already."""

    folder: Path
    manifest: Manifest
    skipped: bool


def model_folder(model: str) -> Path:
    """Return the folder of a model's variants: ``artifacts/variants/<model>``."""
    if Path(model).is_dir():
        model = Path(model).resolve().name
    return artifacts() / "variants" / re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip("-.")


def variant_folder(model: str, variant: str) -> Path:
    """Return the folder of one variant."""
    return model_folder(model) / variant


def build(model: str, recipes: Sequence[Recipe], revision: str | None = None) -> list[Built]:
    """Build the variants that are not there yet; those whose manifest still matches are kept.

    Raises UnusableInputError if the model cannot be had, a recipe cannot be made of it (commands
    leave those out beforehand: :func:`.availability.choose`), or disk or memory will not do.
    """
    config = config_of(model, revision)
    for recipe in recipes:
        if why := why_not(recipe, config):
            raise UnusableInputError(f"{recipe.name} {why}")
    info = _info(model, revision)
    kept = {recipe.name: _unchanged(model, recipe, info) for recipe in recipes}
    missing = [recipe for recipe in recipes if kept[recipe.name] is None]
    made: dict[str, Built] = {}
    if missing:
        _require_room(info, missing)
        made = _build_missing(model, info, missing, revision)
    return [made.get(recipe.name) or kept[recipe.name] for recipe in recipes]  # type: ignore[misc]


def builtin_info(model: str) -> ModelInfo | None:
    """Return what a built-in model is without loading (growing) it; None for any other."""
    return next((i for i in list_models() if i.source == "builtin" and i.name == model), None)


def _info(model: str, revision: str | None) -> ModelInfo:
    known = builtin_info(model) if revision is None else None
    return known or load_model(model, revision).info


def _unchanged(model: str, recipe: Recipe, info: ModelInfo) -> Built | None:
    """Return the variant that stands, if it is whole and what would be built now."""
    folder = variant_folder(model, recipe.name)
    try:
        manifest = read_manifest(folder)
        manifest.verify(folder)
    except UnusableInputError:
        return None
    tools = versions()
    makers = BUILDERS[recipe.engine]
    same_tools = all(manifest.versions.get(name) == tools.get(name) for name in makers)
    same = manifest.recipe == recipe and dict(manifest.model) == info.as_json() and same_tools
    return Built(folder, manifest, skipped=True) if same else None


def standing(model: str, variant: str) -> Built:
    """Return a variant that was built before; raise UnusableInputError if there is none."""
    folder = variant_folder(model, variant)
    return Built(folder, read_manifest(folder), skipped=True)


def at_hand(model: str, recipes: Sequence[Recipe]) -> list[Built]:
    """Return variants as they stand; those that were never built are built first.

    Raises UnusableInputError as :func:`to_open` does, and for one whose files are not what its
    manifest says.
    """
    found = to_open(model, recipes)
    for built in found:
        built.manifest.verify(built.folder)
    return found


def to_open(model: str, recipes: Sequence[Recipe]) -> list[Built]:
    """Return variants for who verifies their files when opening them; missing ones are built.

    Raises UnusableInputError for one that another recipe, other built-in weights or another folder
    of the same name made (its answers would be taken for those of today's).
    """
    missing = [r for r in recipes if not (variant_folder(model, r.name) / MANIFEST).exists()]
    if missing:
        build(model, missing)
    found = [standing(model, recipe.name) for recipe in recipes]
    info = builtin_info(model)
    for built, recipe in zip(found, recipes, strict=True):
        if built.manifest.recipe != recipe or not _made_of(built.manifest, model, info):
            raise UnusableInputError(
                f"{built.folder} was made by another version: run 'tiankong build"
                f" --model {model} --variants {recipe.name}'"
            )
    return found


def _made_of(manifest: Manifest, model: str, info: ModelInfo | None) -> bool:
    """Tell whether a variant was made of this model, as far as can be told without loading it."""
    if info is not None:
        return dict(manifest.model) == info.as_json()
    if Path(model).is_dir():
        return Path(str(manifest.model["name"])).resolve() == Path(model).resolve()
    return True


def _require_room(info: ModelInfo, recipes: Sequence[Recipe]) -> None:
    copy = info.parameters * BYTES_PER_PARAMETER
    what = f"building {len(recipes)} variants of {info.name}"
    require_disk(artifacts(), copy * (len(recipes) + SCRATCH_COPIES), what)
    copies = GRAPH_COPIES if any(recipe.steps for recipe in recipes) else NETWORK_COPIES
    require_memory(copy * copies, what)


def _build_missing(
    model: str, info: ModelInfo, recipes: Sequence[Recipe], revision: str | None
) -> dict[str, Built]:
    steps = 1 + sum(len(recipe.steps) + 2 for recipe in recipes)
    artifacts().mkdir(parents=True, exist_ok=True)
    with (
        progress("build", steps) as step,
        tempfile.TemporaryDirectory(prefix=".build-", dir=artifacts()) as scratch,
    ):
        step(f"load {info.name}")
        loaded = load_model(model, revision)
        workshop = _Workshop(loaded, Path(scratch), step)
        return {r.name: workshop.build(r, variant_folder(model, r.name)) for r in recipes}


@dataclass(frozen=True)
class _Source:
    """A model's tokenizer and configuration; ``kept``: the ids that a pruned vocabulary keeps."""

    tokenizer: Tokenizer
    config: dict[str, Any]
    positions: int
    kept: Sequence[int] = ()

    def pruned(self) -> _Source:
        from . import pruning

        kept = pruning.kept_ids(self.tokenizer)
        tokenizer = pruning.prune_tokenizer(self.tokenizer, kept)
        config = pruning.prune_config(self.config, kept)
        return _Source(tokenizer, config, self.positions, kept)

    def origin(self) -> Origin:
        from .graphs import Origin

        encoder = TextEncoder(self.tokenizer, self.positions)
        batches = [encoder.batch([ids]) for ids in calibration(encoder)]
        return Origin(self.config, encoder.mask_id, batches, self.kept)


class _Workshop:
    """Makes variants of one loaded model; graphs that recipes share are made once."""

    def __init__(self, loaded: LoadedModel, scratch: Path, step: Callable[[str], None]) -> None:
        self._loaded = loaded
        self._scratch = scratch
        self._step = step
        self._made: dict[tuple[str, ...], Path] = {}

    def build(self, recipe: Recipe, folder: Path) -> Built:
        source = self._source(recipe.steps)
        with folder_written_whole(folder) as place:
            _write_tokenizer(place, source)
            target = place / recipe.file
            target.parent.mkdir(parents=True, exist_ok=True)
            if recipe.engine == "pytorch":
                self._step(f"{recipe.name}: write weights")
                _write_weights(self._loaded.network, place, recipe.precision)
            elif recipe.engine == "openvino":
                self._openvino(recipe, target)
            else:
                shutil.copyfile(self._graph(recipe.steps, recipe.name), target)
            write_json(place / "config.json", source.config)
            manifest = self._manifest(recipe, place, source)
            write_manifest(place, manifest)
            self._step(f"{recipe.name}: verify")
            _verify(place)
        return Built(folder, manifest, skipped=False)

    def _graph(self, steps: tuple[str, ...], variant: str) -> Path:
        """Return the file that a chain of steps makes, from the longest part already made."""
        from . import graphs

        if steps in self._made:
            return self._made[steps]
        target = self._scratch / f"{'-'.join(steps)}.onnx"
        if len(steps) == 1:
            self._step(f"{variant}: export")
            graphs.export(self._loaded.network, target)
        else:
            # Changes of one graph in memory are made together: a file is 400 MB.
            last = list(takewhile(lambda step: step in graphs.REWRITES, reversed(steps)))[::-1]
            last = last or [steps[-1]]
            source = self._graph(steps[: -len(last)], variant)
            for step in last:
                self._step(f"{variant}: {step}")
            graphs.make(source, target, last, self._source(steps).origin())
        self._made[steps] = target
        give_memory_back()
        return target

    def _source(self, steps: Sequence[str]) -> _Source:
        """Return the model as the last of some steps sees it."""
        loaded = self._loaded
        whole = _Source(loaded.tokenizer, loaded.config, loaded.info.positions)
        return whole.pruned() if "prune-vocabulary" in steps else whole

    def _openvino(self, recipe: Recipe, target: Path) -> None:
        """Write an OpenVINO model; the float32 one that recipes share is converted once."""
        from . import conversion

        plain = self._scratch / "openvino_model.xml"
        batches = self._source(()).origin().calibration
        if not plain.exists():
            self._step(f"{recipe.name}: export")
            conversion.convert(self._loaded.network, plain, batches[0])
        last = recipe.steps[-1]
        self._step(f"{recipe.name}: {last}")
        if last == "int8-static":
            conversion.quantize(plain, target, batches)
        elif last == "fp16":
            conversion.store_half(plain, target)
        else:
            for suffix in (".xml", ".bin"):
                shutil.copyfile(plain.with_suffix(suffix), target.with_suffix(suffix))

    def _manifest(self, recipe: Recipe, folder: Path, source: _Source) -> Manifest:
        notes = {}
        if "int8-dynamic" in recipe.steps:
            notes["batch"] = "an answer can depend on its neighbours in a batch (dynamic scales)"
        if "int8-static" in recipe.steps:
            notes["batch"] = "an answer does not depend on its neighbours in a batch (fixed scales)"
        if source.kept:
            whole = int(self._loaded.config["vocab_size"])
            notes["vocabulary"] = (
                f"{len(source.kept)} of {whole} tokens: Latin words and numbers are spelled"
                " character by character, and what was left out is no answer"
            )
        return Manifest(
            variant=recipe.name,
            model=self._loaded.info.as_json(),
            recipe=recipe,
            files=record_files(folder),
            versions=versions(),
            machine=fingerprint(),
            built=datetime.now(UTC).isoformat(timespec="seconds"),
            notes=notes,
        )


def _write_tokenizer(folder: Path, source: _Source) -> None:
    source.tokenizer.save(str(folder / "tokenizer.json"))
    known = source.tokenizer.get_vocab()
    specials: dict[str, str] = {}
    for name in ("unk", "sep", "pad", "cls", "mask"):
        spelled = (f"[{name.upper()}]", f"<{name}>")  # SentencePiece's own are the second
        specials |= {f"{name}_token": token for token in spelled[::-1] if token in known}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": source.positions,
            "model_input_names": list(family(source.config).inputs),
            **specials,
        },
    )


def calibration(encoder: TextEncoder) -> Iterator[list[int]]:
    """Yield the ids of the calibration sentences, without those a small model cannot be asked."""
    for text in CALIBRATION.read_text(encoding="utf-8").splitlines():
        with suppress(TextError):
            yield encoder.encode(text)


def _write_weights(network: PreTrainedModel, folder: Path, precision: str) -> None:
    from transformers.utils import logging

    from .engine_torch import DTYPES

    logging.disable_progress_bar()  # ours is on the screen already
    kind = DTYPES[precision]
    if network.dtype == kind:
        network.save_pretrained(folder)
    else:  # other recipes need the network as it is
        rounded: Any = copy.deepcopy(network)
        rounded.to(kind).save_pretrained(folder)


def _verify(folder: Path) -> None:
    """Open what was written, by its digests, and ask it something."""
    predictor = open_variant(folder)
    for probe in PROBES:
        (answer,) = predictor.predict([probe])
        if len(answer[0]) != 5:
            raise BrokenVariantError(f"{predictor.name} does not answer {probe!r}")
