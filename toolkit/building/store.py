"""The store: the one way to get variants of a model.

    store = Store("builtin-small")
    (int8,) = store.get(["onnx-int8"])       # built if missing; recipe and digests checked
    store.build(["onnx-int8"])               # built anew as well if the libraries are others
    store.to_open("onnx-int8")               # digests are left to whoever opens it
    store.standing("onnx-int8")              # as it lies there: nothing is built or checked

and, on top of it, the gate (:mod:`...gate.examination`)::

    built = ensure(store, ["onnx-int8"], find_gold("builtin"))     # gated on this gold set as well

Recipes of the user's own (``own_recipes``) stand beside the shipped ones.  An ONNX file that a user
brings (``offer``) is the first variant of its store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UnusableInputError
from .availability import Choice, choose
from .folders import Built, model_folder, variant_folder
from .manifest import NAME as MANIFEST
from .manifest import Manifest, read_manifest
from .offer import Offer
from .recipes import REFERENCE, SHIPPED, Recipe


@dataclass(frozen=True)
class Store:
    """The variants of one model.

    Args:
        model: a built-in model, a hub id or a folder; empty for a file that is brought alone.
        revision: of a hub model, where a variant has to be built.
        own_recipes: a folder of the user's own recipes.
        offer: an ONNX file that the user brings.

    Making one reads nothing.

    """

    model: str
    revision: str | None = None
    own_recipes: Path | None = None
    offer: Offer | None = None

    @property
    def name(self) -> str:
        """The model's name; that of the tokenizer's folder for a file that is brought alone."""
        if self.model or self.offer is None:
            return self.model
        return model_folder(self.offer.tokenizer.resolve().name).name

    def choose(self, names: Sequence[str] = (), *, optional: bool = False) -> Choice:
        """Return the recipes that can be built and run here (see :func:`.availability.choose`)."""
        return choose(names, self.model, self.revision, optional, self.own_recipes)

    def require(self, name: str) -> None:
        """Raise UnusableInputError if a name is unknown or cannot be run on this machine."""
        self._on_this_machine([name])

    def get(self, names: Sequence[str] = (), *, reference: bool = False) -> list[Built]:
        """Return variants, built if missing, recipe and digests checked.

        No names: all that can be built and run here, or only the file that is brought.  With
        ``reference`` the reference variant is made ready too, though not returned unless named.
        Raises UnusableInputError for a name that is unknown or cannot be had here, for files that
        are not what their manifest says, and for a variant that another recipe, other built-in
        weights or another folder of the same name made.
        """
        if self.offer is None:
            return self._verified(names, reference=reference)
        if names and not self.model:
            raise UnusableInputError("--variants beside --onnx are a model's: name it by --model")
        brought = self._bring(self.offer)
        return [brought, *(self._verified(names, reference=reference) if names else [])]

    def build(self, names: Sequence[str] = ()) -> list[Built]:
        """Return variants as they would be built now: damaged and outdated ones are made anew.

        Outdated is what another recipe, model or version of a library made.  Raises
        UnusableInputError as :func:`.build.build` does.
        """
        from .build import build  # here: a server needs nothing that builds

        return build(self.model, self.choose(names).recipes, self.revision)

    def to_open(self, name: str = "") -> Built:
        """Return one variant to be opened, which checks its digests; built if missing.

        No name: the file that is brought, otherwise the usual variant.  A hub model is not asked
        for where the variant stands.
        """
        if self.offer is None:
            (built,) = self._recipes_met(self._on_this_machine([name or SHIPPED]))
            return built
        if name:
            raise UnusableInputError(f"--onnx brings a variant of its own: leave out {name}")
        return self._bring(self.offer)

    def standing(self, name: str) -> Built:
        """Return a variant as it lies there; raise UnusableInputError if it was never built."""
        folder = variant_folder(self.name, name)
        return Built(folder, read_manifest(folder), skipped=True)

    def _verified(self, names: Sequence[str], *, reference: bool) -> list[Built]:
        if names:
            recipes = self._on_this_machine([*names, REFERENCE] if reference else names)
        else:
            recipes = self.choose().recipes
        variants = self._recipes_met(recipes)
        for built in variants:
            built.manifest.verify(built.folder)
        return [built for built in variants if not names or built.manifest.variant in names]

    def _on_this_machine(self, names: Sequence[str]) -> Sequence[Recipe]:
        """Return the named recipes; whether they suit the model is asked when one is built."""
        return choose(names, own_recipes=self.own_recipes).recipes

    def _recipes_met(self, recipes: Sequence[Recipe]) -> list[Built]:
        """Return variants of these recipes, built if missing; their digests are not checked."""
        missing = [r.name for r in recipes if not self._is_there(r.name)]
        if missing:
            self.build(missing)
        variants = [self.standing(recipe.name) for recipe in recipes]
        for built, recipe in zip(variants, recipes, strict=True):
            if built.manifest.recipe != recipe or not self._is_of_model(built.manifest):
                own = "" if self.own_recipes is None else f" --recipes {self.own_recipes}"
                raise UnusableInputError(
                    f"{built.folder} was made by another version: run 'tiankong build"
                    f" --model {self.model} --variants {recipe.name}{own}'"
                )
        return variants

    def _is_there(self, name: str) -> bool:
        return (variant_folder(self.name, name) / MANIFEST).exists()

    def _is_of_model(self, manifest: Manifest) -> bool:
        """Tell whether a variant was made of this model, as far as can be told without loading."""
        from ..models.loading import builtin_info

        if (info := builtin_info(self.model)) is not None:
            return dict(manifest.model) == info.as_json()
        if Path(self.model).is_dir():
            return Path(str(manifest.model["name"])).resolve() == Path(self.model).resolve()
        return True

    def _bring(self, offer: Offer) -> Built:
        from .brought import bring  # here: it tries the file out, with numpy and tokenizers

        return bring(offer, self.model, self._reference_model)

    def _reference_model(self) -> Mapping[str, Any] | None:
        """Return what the reference's manifest says of the model (it is built if missing)."""
        if not self.model:
            return None
        (reference,) = self._verified([REFERENCE], reference=False)
        return reference.manifest.model
