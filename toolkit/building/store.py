"""The store: the one way to get variants of a model.

    store = Store("builtin-small")
    (int8,) = store.get(["onnx-int8"])       # built if missing; recipe and digests checked
    store.build(["onnx-int8"])               # built again also if libraries have changed
    store.to_open("onnx-int8")               # as get, but opening it will check the digests
    store.standing("onnx-int8")              # the existing one: nothing is built or checked

The gate builds on it (:mod:`...gate.examination`)::

    built = ensure(store, ["onnx-int8"], find_gold("builtin"))     # also passed through the gate

The user's own recipes (``own_recipes``) are known in addition to the shipped ones.  If a user
brings an ONNX file (``offer``), it is the first variant of its store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UnusableInputError
from ..models.source import printable
from .availability import Choice, Skipped, choose, say_skipped
from .folders import Built, variant_folder
from .manifest import NAME as MANIFEST
from .manifest import Manifest, read_manifest
from .offer import Offer
from .recipes import REFERENCE, SHIPPED, Recipe


@dataclass(frozen=True)
class Store:
    """The variants of one model.

    Args:
        model: a built-in model, a hub id or a folder; empty if a file is brought without a model.
        revision: branch, tag or commit of a hub model, used when a variant is built.
        own_recipes: a folder of the user's own recipes.
        offer: an ONNX file that the user brings.
        convert_pickle: convert pickled weights of a model that has no others.

    Creating a store reads no file.

    """

    model: str
    revision: str | None = None
    own_recipes: Path | None = None
    offer: Offer | None = None
    convert_pickle: bool = False

    @property
    def name(self) -> str:
        """The model's name; for a file that is brought without a model, its tokenizer folder's."""
        if self.model or self.offer is None:
            return self.model
        return printable(self.offer.tokenizer.resolve().name)

    def choose(self, names: Sequence[str] = (), *, optional: bool = False) -> Choice:
        """Return the recipes that can be built and run here (see :func:`.availability.choose`)."""
        return choose(
            names, self.model, self.revision, optional, self.own_recipes, self.convert_pickle
        )

    def require(self, name: str) -> None:
        """Raise UnusableInputError if a name is unknown or cannot be run on this machine."""
        self._runnable([name])

    def get(self, names: Sequence[str] = (), *, reference: bool = False) -> list[Built]:
        """Return variants; missing ones are built, recipe and digests of all are checked.

        No names: all that can be built and run here, or only the file that is brought.  With
        ``reference`` the reference variant is built and checked too, but returned only if named.
        Raises UnusableInputError for a name that is unknown or impossible here, for files that
        differ from their manifest, and for a variant made from another recipe, other built-in
        weights or another folder of the same name.
        """
        if self.offer is None:
            return self._verified(names, reference=reference)
        if names and not self.model:
            raise UnusableInputError(
                "--variants with --onnx names a model's variants: name it by --model"
            )
        brought = self._bring(self.offer)
        return [brought, *(self._verified(names, reference=reference) if names else [])]

    def build(self, names: Sequence[str] = ()) -> list[Built]:
        """Return variants as they would be built now: damaged and outdated ones are built again.

        A variant is outdated if its recipe, its model or the version of a library has changed.
        One that cannot be made of this model is left out, with a line that says why, or, if it was
        named, raised as an error once the others are built.  Raises UnusableInputError as
        :func:`.build.build` does.
        """
        return self.build_chosen(self.choose(names))[0]

    def build_chosen(self, choice: Choice) -> tuple[list[Built], Choice]:
        """Do what :meth:`build` does, for a choice; return it without what cannot be made."""
        from .build import build  # here: a server needs nothing that builds

        outcome = build(
            self.model, choice.recipes, self.revision, convert_pickle=self.convert_pickle
        )
        left_out = [
            Skipped(name, f"cannot be made: {error}") for name, error in outcome.failures.items()
        ]
        for entry, error in zip(left_out, outcome.failures.values(), strict=True):
            if choice.named:
                raise type(error)(f"{entry.variant} {entry.why}")
        say_skipped(left_out)
        return list(outcome.variants), choice.without(left_out)

    def prepare(self, choice: Choice) -> Choice:
        """Build what is missing of a choice; return it without what cannot be made."""
        missing = tuple(recipe for recipe in choice.recipes if not self._exists(recipe.name))
        if not missing:
            return choice
        _, made = self.build_chosen(replace(choice, recipes=missing, skipped=()))
        return choice.without(made.skipped)

    def to_open(self, name: str = "") -> Built:
        """Return one variant, built if missing; its digests are left to opening, which checks them.

        No name: the file that is brought, otherwise the default variant.  If the variant exists,
        the hub is not contacted.
        """
        if self.offer is None:
            (built,) = self._of_recipes(self._runnable([name or SHIPPED]))
            return built
        if name:
            raise UnusableInputError(f"--onnx brings a variant of its own: leave out {name}")
        return self._bring(self.offer)

    def standing(self, name: str) -> Built:
        """Return an existing variant unchecked; raise UnusableInputError if there is none."""
        folder = variant_folder(self.model, name)
        return Built(folder, read_manifest(folder), skipped=True)

    def _verified(self, names: Sequence[str], *, reference: bool) -> list[Built]:
        if names:
            recipes = self._runnable([*names, REFERENCE] if reference else names)
        else:
            recipes = self.prepare(self.choose()).recipes
        variants = self._of_recipes(recipes)
        for built in variants:
            built.manifest.verify(built.folder)
        return [built for built in variants if not names or built.manifest.variant in names]

    def _runnable(self, names: Sequence[str]) -> Sequence[Recipe]:
        """Return the named recipes; whether they suit the model is checked when one is built."""
        return choose(names, own_recipes=self.own_recipes).recipes

    def _of_recipes(self, recipes: Sequence[Recipe]) -> list[Built]:
        """Return variants of these recipes, built if missing; their digests are not checked."""
        missing = [r.name for r in recipes if not self._exists(r.name)]
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

    def _exists(self, name: str) -> bool:
        return (variant_folder(self.model, name) / MANIFEST).exists()

    def _is_of_model(self, manifest: Manifest) -> bool:
        """Tell whether a variant was made of this model, as far as is known without loading it."""
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
        """Return what the reference's manifest says of the model; build it if it is missing."""
        if not self.model:
            return None
        (reference,) = self._verified([REFERENCE], reference=False)
        return reference.manifest.model
