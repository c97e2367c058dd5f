"""The store: variants as they stand, built where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UnusableInputError
from ..models.info import ModelInfo
from ..models.loading import builtin_info
from .availability import choose
from .build import build
from .folders import Built, standing, variant_folder
from .manifest import NAME as MANIFEST
from .manifest import Manifest
from .recipes import REFERENCE, Recipe


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


def at_hand_named(model: str, names: Sequence[str]) -> list[Built]:
    """Return variants by name (none: all there can be here), the reference standing beside them.

    What was never built is built now; what is damaged is refused (:func:`.build.at_hand`), as is
    a named one that cannot be run here (:func:`.availability.choose`).
    """
    recipes = choose([*names, REFERENCE] if names else [], model).recipes
    found = at_hand(model, recipes)
    return [built for built in found if not names or built.manifest.variant in names]
