"""Build variants: a folder from a model and a recipe, written completely or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..console import progress, say
from ..errors import BrokenVariantError, TiankongError, UnusableInputError
from ..files import artifacts, require_disk, require_memory
from ..machine import versions
from ..models.info import ModelInfo
from ..models.loading import builtin_info, load_model
from .calibration import Calibration, is_calibrated, read_calibration, require_calibration
from .folders import Built, variant_folder
from .identity import Identity
from .manifest import read_manifest
from .recipes import FIXED, REFERENCE, Recipe
from .workshop import Workshop

BYTES_PER_PARAMETER = 4
# Float32 copies on the disk at once: two intermediate graphs beside the one being written.
SCRATCH_COPIES = 4
# Float32 copies in memory at once: of the network and its loader; for a graph also of exporter,
# protobuf and optimizer (measured at the geometry of bert-base-chinese: 10.9).
NETWORK_COPIES, GRAPH_COPIES = 3, 11


@dataclass(frozen=True)
class Outcome:
    """The variants of a build, in the order of its recipes, and why others cannot be made."""

    variants: Sequence[Built]
    failures: Mapping[str, TiankongError]


def build(
    model: str,
    recipes: Sequence[Recipe],
    revision: str | None = None,
    calibration: Path | None = None,
    convert_pickle: bool = False,
) -> Outcome:
    """Build the variants that are not there yet; those whose manifest still matches are kept.

    ``calibration`` is a file of sentences for fixed 8-bit scales; without it a new variant gets the
    shipped ones, and one that is there keeps what it was built with.  It must be possible to make
    all ``recipes`` of the model (see :func:`.availability.choose`).  If the weights of this model
    do not suit one all the same (a weight too large for float16), the others are built.  Raises
    UnusableInputError if the model cannot be loaded, or if disk or memory is too small, and the
    reference variant's own error: all others are held to it.
    """
    info, remarks = _described(model, revision, convert_pickle)
    if remarks:
        say(f"{info.name}: {'; '.join(remarks)}")
    identity = Identity.of(model, info.revision)
    sentences = None if calibration is None else read_calibration(calibration)
    if sentences and not any(FIXED in recipe.steps for recipe in recipes):
        say(f"calibration: none of these variants has fixed scales, {sentences.name} is not used")
    kept = {
        recipe.name: built
        for recipe in recipes
        if (built := _unchanged(identity, recipe, info, remarks))
        and is_calibrated(built.manifest, sentences)
    }
    missing = [recipe for recipe in recipes if recipe.name not in kept]
    made: dict[str, Built] = {}
    failures: dict[str, TiankongError] = {}
    if missing:
        for recipe in missing:
            require_calibration(variant_folder(model, recipe.name), recipe, sentences)
        _require_room(info, missing)
        made, failures = _build_missing(model, info, missing, revision, sentences, convert_pickle)
    ready = kept | made
    return Outcome([ready[r.name] for r in recipes if r.name in ready], failures)


def _described(
    model: str, revision: str | None, convert_pickle: bool
) -> tuple[ModelInfo, tuple[str, ...]]:
    """Return a model's description and what is unusual about its files."""
    known = builtin_info(model) if revision is None else None
    if known is not None:
        return known, ()
    loaded = load_model(model, revision, convert_pickle)
    return loaded.info, loaded.remarks


def _unchanged(
    identity: Identity, recipe: Recipe, info: ModelInfo, remarks: tuple[str, ...]
) -> Built | None:
    """Return the existing variant if it is undamaged and a build now would make the same.

    A variant whose manifest lacks a remark was made before the checkpoint was read as it is now.
    """
    folder = variant_folder(identity.name, recipe.name)
    try:
        manifest = read_manifest(folder)
        manifest.verify(folder)
    except UnusableInputError:
        return None
    tools = versions(*recipe.makers)
    same_tools = all(manifest.versions.get(n) == tools.get(n) for n in recipe.makers)
    # A folder can be named in many ways.
    same_facts = dict(manifest.model) | {"name": info.name} == info.as_json()
    same_model = same_facts and not identity.difference(manifest)
    same_reading = manifest.notes.get("checkpoint", "") == "; ".join(remarks)
    same = manifest.recipe == recipe and same_model and same_reading and same_tools
    return Built(folder, manifest, skipped=True) if same else None


def _require_room(info: ModelInfo, recipes: Sequence[Recipe]) -> None:
    copy = info.parameters * BYTES_PER_PARAMETER
    what = f"building {len(recipes)} variants of {info.name}"
    require_disk(artifacts(), copy * (len(recipes) + SCRATCH_COPIES), what)
    copies = GRAPH_COPIES if any(recipe.steps for recipe in recipes) else NETWORK_COPIES
    require_memory(copy * copies, what)


def _build_missing(
    model: str,
    info: ModelInfo,
    recipes: Sequence[Recipe],
    revision: str | None,
    calibration: Calibration | None,
    convert_pickle: bool,
) -> tuple[dict[str, Built], dict[str, TiankongError]]:
    """Return the variants that were made, and the errors of those that cannot be made."""
    made: dict[str, Built] = {}
    failures: dict[str, TiankongError] = {}
    steps = 2 + sum(len(recipe.steps) + 2 for recipe in recipes)
    artifacts().mkdir(parents=True, exist_ok=True)
    with (
        progress("build", steps) as step,
        tempfile.TemporaryDirectory(prefix=".build-", dir=artifacts()) as scratch,
    ):
        step(f"load {info.name}")
        loaded = load_model(model, revision, convert_pickle)
        workshop = Workshop(loaded, Path(scratch), step, calibration)
        workshop.compare()
        # The reference first: if it cannot be made, there is nothing to hold others to.
        for recipe in sorted(recipes, key=lambda recipe: recipe.name != REFERENCE):
            try:
                made[recipe.name] = workshop.build(recipe, variant_folder(model, recipe.name))
            except (UnusableInputError, BrokenVariantError) as error:
                if recipe.name == REFERENCE:
                    raise
                failures[recipe.name] = error
    return made, failures
