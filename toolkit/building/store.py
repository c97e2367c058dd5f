"""The store: the one way to get variants of a model.

    store = Store("builtin-small")
    (int8,) = store.get(["onnx-int8"])       # built if missing; recipe and digests checked
    store.build(["onnx-int8"])               # built again also if libraries have changed
    store.to_open("onnx-int8")               # as get, but opening it will check the digests
    store.standing("onnx-int8")              # the existing one: nothing is built or checked

The gate builds on it (:mod:`...gate.examination`)::

    built = ensure(store, ["onnx-int8"], find_gold("builtin"))     # also passed through the gate

What is returned was made of what the model is now: of the weights, configuration and tokenizer that
its folder holds, or of one commit of a hub model.  Variants of anything else are built anew, and a
line says so.

The user's own recipes (``own_recipes``) are known in addition to the shipped ones.  If a user
brings an ONNX file (``offer``), it is the first variant of its store.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ..console import say
from ..errors import UnusableInputError
from ..models.source import is_builtin, printable, require_no_revision
from .availability import Choice, Skipped, choose, say_skipped
from .folders import Built, model_folder, source_folder, variant_folder
from .identity import Identity
from .manifest import NAME as MANIFEST
from .manifest import Manifest, read_manifest
from .offer import Offer
from .recipes import REFERENCE, SHIPPED, Recipe


@dataclass(frozen=True)
class Store:
    """The variants of one model.

    Args:
        model: a built-in model, a hub id or a folder; empty if a file is brought without a model.
        revision: branch, tag or commit of a hub model; None: the one whose variants were built
            last, ``main`` if there are none.
        own_recipes: a folder of the user's own recipes.
        offer: an ONNX file that the user brings.
        convert_pickle: convert pickled weights of a model that has no others.
        calibration: a file of sentences for fixed 8-bit scales; without it, new variants get the
            shipped sentences, and those that are there keep theirs.

    Creating a store reads no file.

    """

    model: str
    revision: str | None = None
    own_recipes: Path | None = None
    offer: Offer | None = None
    convert_pickle: bool = False
    calibration: Path | None = None

    @property
    def name(self) -> str:
        """The model's name; for a file that is brought without a model, its tokenizer folder's."""
        if self.model or self.offer is None:
            return self.model
        return printable(self.offer.tokenizer.resolve().name)

    def choose(self, names: Sequence[str] = (), *, optional: bool = False) -> Choice:
        """Return the recipes that can be built and run here (see :func:`.availability.choose`).

        If the model's folder is gone, whether named ones suit the model is not checked.
        """
        gone = bool(names) and Identity.of(self.model).is_gone
        model, commit = ("", None) if gone else (self.model, self.commit)
        return choose(names, model, commit, optional, self.own_recipes, self.convert_pickle)

    def require(self, name: str) -> None:
        """Raise UnusableInputError if a name is unknown or cannot be run on this machine."""
        self._runnable([name])

    def get(self, names: Sequence[str] = (), *, reference: bool = False) -> list[Built]:
        """Return variants; missing ones are built, recipe and digests of all are checked.

        No names: all that can be built and run here, or only the file that is brought.  With
        ``reference`` the reference variant is built and checked too, but returned only if named.
        Raises UnusableInputError for a name that is unknown or impossible here, for files that
        differ from their manifest, and for a variant made from another recipe or other built-in
        weights.
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
        named, raised as an error once the others are built.  Without a revision, a hub model's
        ``main`` is built.  Raises UnusableInputError as :func:`.build.build` does.
        """
        return self._build(names, self._asked)

    def build_chosen(self, choice: Choice) -> tuple[list[Built], Choice]:
        """Do what :meth:`build` does, for a choice; return it without what cannot be made."""
        return self._build_chosen(choice, self._asked)

    def _build_chosen(self, choice: Choice, commit: str | None) -> tuple[list[Built], Choice]:
        from .build import build  # here: a server needs nothing that builds

        outcome = build(
            self.model,
            choice.recipes,
            commit,
            calibration=self.calibration,
            convert_pickle=self.convert_pickle,
        )
        if self.revision and commit:
            from ..models.hub import keep_name

            keep_name(self.model, self.revision, commit)
        left_out = [
            Skipped(name, f"cannot be made: {error}") for name, error in outcome.failures.items()
        ]
        for entry, error in zip(left_out, outcome.failures.values(), strict=True):
            if choice.named:
                raise type(error)(f"{entry.variant} {entry.why}")
        say_skipped(left_out)
        return list(outcome.variants), choice.without(left_out)

    def prepare(self, choice: Choice) -> Choice:
        """Build what :meth:`get` would build; return a choice without what cannot be made."""
        commit = self.commit
        wanting = self._wanting(choice.recipes, Identity.of(self.model, commit))
        if not wanting:
            return choice
        recipes = tuple(recipe for recipe in choice.recipes if recipe.name in wanting)
        _, made = self._build_chosen(replace(choice, recipes=recipes, skipped=()), commit)
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
        commit = self.commit
        identity = Identity.of(self.model, commit)
        if wanting := self._wanting(recipes, identity):
            self._build(wanting, commit)
        elif identity.is_gone:
            names = ", ".join(recipe.name for recipe in recipes)
            say(f"{self.model} has no weights any more: going on with {names}, made of it before")
        variants = [self.standing(recipe.name) for recipe in recipes]
        for built, recipe in zip(variants, recipes, strict=True):
            if built.manifest.recipe != recipe or identity.difference(built.manifest):
                own = "" if self.own_recipes is None else f" --recipes {self.own_recipes}"
                raise UnusableInputError(
                    f"{built.folder} was made by another version: run 'tiankong build"
                    f" --model {shlex.quote(self.model)} --variants {recipe.name}{own}'"
                )
        return variants

    def _wanting(self, recipes: Sequence[Recipe], identity: Identity) -> list[str]:
        """Return the names of recipes whose variants are missing or made of something else."""
        missing = [recipe.name for recipe in recipes if not self._exists(recipe.name)]
        there = [self.standing(r.name) for r in recipes if r.name not in missing]
        others = [] if identity.builtin else _others(identity, there)
        return list(dict.fromkeys([*missing, *others, *self._calibrated_otherwise(there)]))

    def _calibrated_otherwise(self, variants: Sequence[Built]) -> list[str]:
        """Return the names of variants calibrated on other sentences than are asked for."""
        if self.calibration is None:
            return []
        from .calibration import is_calibrated, read_calibration  # here: it imports numpy

        wanted = read_calibration(self.calibration)
        return [v.manifest.variant for v in variants if not is_calibrated(v.manifest, wanted)]

    def _build(self, names: Sequence[str], commit: str | None) -> list[Built]:
        choice = choose(
            names,
            self.model,
            commit,
            own_recipes=self.own_recipes,
            convert_pickle=self.convert_pickle,
        )
        return self._build_chosen(choice, commit)[0]

    @cached_property
    def _asked(self) -> str | None:
        """The commit of the revision that was asked for, looked up once; None if none was."""
        require_no_revision(self.model, self.revision)
        if not self.revision:
            return None
        from ..models.hub import resolve  # here: a server needs no hub

        return resolve(self.model, self.revision)

    @property
    def commit(self) -> str | None:
        """The commit that a hub model's variants are of: the one asked for, else the last built."""
        if self.revision:
            return self._asked
        if not self.model or is_builtin(self.model) or source_folder(self.model) is not None:
            return None
        commits = {}
        for folder in model_folder(self.model).glob("[!.]*"):
            with suppress(UnusableInputError, OSError):  # damage is reported when it is opened
                manifest = read_manifest(folder)
                if manifest.model.get("source") == "hub" and not manifest.recipe.brought:
                    when = (manifest.built, (folder / "config.json").stat().st_mtime_ns)
                    commits[when] = str(manifest.model["revision"])
        return commits[max(commits)] if commits else None

    def _exists(self, name: str) -> bool:
        return (variant_folder(self.model, name) / MANIFEST).exists()

    def _bring(self, offer: Offer) -> Built:
        from .brought import bring  # here: it tries the file out, with numpy and tokenizers

        if not self.model:
            require_no_revision(self.model, self.revision)
        return bring(offer, self.model, self._reference)

    def _reference(self) -> Manifest | None:
        """Return the reference's manifest; build the variant if it is missing."""
        if not self.model:
            return None
        (reference,) = self._verified([REFERENCE], reference=False)
        return reference.manifest


def _others(identity: Identity, variants: Sequence[Built]) -> list[str]:
    """Return the names of variants made of something else than a model is now; say why in a line.

    Raises UnusableInputError if nothing can be made of the model any more.
    """
    others = {v.manifest.variant: d for v in variants if (d := identity.difference(v.manifest))}
    if not others:
        return []
    now = f"revision {identity.commit[:12]}" if identity.commit else "what is there now"
    reasons = "; ".join(f"{name} was made of {why}" for name, why in others.items())
    line = f"{identity.name}: {reasons}"
    if identity.is_gone:
        raise UnusableInputError(f"{line}, and the weights are gone: put the model back")
    say(f"{line}: building anew, of {now}")
    return list(others)
