"""Which recipes can be built and run here, which suit this CPU, and one line why (not)."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..engines.kinds import Kind
from ..errors import UnusableInputError
from ..machine import BF16_FLAGS, fingerprint, processor
from .recipes import Recipe, read_recipes

BF16 = "needs a CPU with AVX512-BF16 or AMX-BF16"
CUDA = "needs CUDA"
SUITED = "@suited"
"""In a plan, or for ``tune``: all variants that suit this CPU.  No recipe can have this name."""
NO_WORDPIECE = "is not made of this model: only a WordPiece vocabulary can be pruned"


@dataclass(frozen=True)
class Skipped:
    """A variant that is left out, and one line why."""

    variant: str
    why: str

    def as_json(self) -> dict[str, str]:
        """Return both as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The recipes a command goes on with, and what it leaves out.

    ``named``: the user named the recipes, so none of them may be left out.
    """

    recipes: tuple[Recipe, ...]
    skipped: tuple[Skipped, ...] = ()
    named: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the recipes."""
        return [recipe.name for recipe in self.recipes]

    def without(self, left_out: Sequence[Skipped]) -> Choice:
        """Return the same choice with some recipes left out."""
        gone = {entry.variant for entry in left_out}
        recipes = tuple(recipe for recipe in self.recipes if recipe.name not in gone)
        return replace(self, recipes=recipes, skipped=(*self.skipped, *left_out))

    def beside(self, skipped: Sequence[Skipped]) -> Choice:
        """Return the same choice with what was left out before; one line is printed for each."""
        say_skipped(skipped)
        return replace(self, skipped=(*skipped, *self.skipped))

    def skipped_json(self) -> list[dict[str, str]]:
        """Return what is left out as JSON objects."""
        return [entry.as_json() for entry in self.skipped]


@dataclass(frozen=True)
class Suitable:
    """A variant for production, and when it suits a CPU.

    ``flags`` are the instruction sets that make it fast, the best first, and ``brings`` says what
    they do.  ``without`` is why it suits a CPU that has none of them, or, if it ``needs_flag``,
    why it does not.
    """

    variant: str
    brings: str
    flags: Sequence[str]
    without: str
    needs_flag: bool = False


INT8_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm")
LESS_TO_READ = "fewer bytes to read; this CPU has no instructions for 8-bit products"
SUITABLE = (
    Suitable("onnx-int8", "8-bit products", INT8_FLAGS, LESS_TO_READ),
    Suitable("openvino-int8", "8-bit products", INT8_FLAGS, LESS_TO_READ),
    Suitable("openvino-bf16", "products in bfloat16", ("amx_bf16", "avx512_bf16"), BF16, True),
)
"""What one would choose between; a variant made for one kind of CPU is one more row."""


@dataclass(frozen=True)
class Suited:
    """The variants that suit a CPU, each with one line why, and those that do not."""

    reasons: Mapping[str, str]
    others: tuple[Skipped, ...] = ()

    def expand(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return names of variants, each once, with ``@suited`` replaced by those that suit."""
        parts = (self.reasons if name == SUITED else [name] for name in names)
        return tuple(dict.fromkeys(name for part in parts for name in part))


def suited(isa: Collection[str] | None = None) -> Suited:
    """Return what suits a CPU with the instruction sets ``isa`` (None: this machine's).

    Whether it can be built and run here is another question: see :func:`why_not`.
    """
    has = processor()["isa"] if isa is None else isa
    reasons, others = dict[str, str](), list[Skipped]()
    for entry in SUITABLE:
        found = next((flag for flag in entry.flags if flag in has), None)
        if found is None and entry.needs_flag:
            others.append(Skipped(entry.variant, entry.without))
        else:
            reasons[entry.variant] = f"{entry.brings} ({found})" if found else entry.without
    return Suited(reasons, tuple(others))


NOTHING = Choice(())
"""For a command that takes a user's file instead of recipes."""


def why_not(recipe: Recipe) -> str | None:
    """Return one line why a recipe cannot be built or run here; None if it can."""
    kind = recipe.kind
    if recipe.device == "cuda":
        return _why_no_cuda(kind)
    if kind.extra and (missing := [n for n in kind.distributions if find_spec(n) is None]):
        return f"needs {missing[0]}: pip install 'tiankong[{kind.extra}]'"
    if recipe.precision == "bf16" and not BF16_FLAGS & set(fingerprint()["isa"]):
        return BF16
    return None


def require(recipe: Recipe) -> None:
    """Raise UnusableInputError, with the reason, for a recipe that cannot be built or run here."""
    if why := why_not(recipe):
        raise UnusableInputError(f"{recipe.name} {why}")


def choose(
    names: Sequence[str] = (),
    model: str = "",
    revision: str | None = None,
    optional: bool = False,
    own_recipes: Path | None = None,
    convert_pickle: bool = False,
) -> Choice:
    """Return the named recipes; if none is named, all that can be built and run here.

    Args:
        names: the recipes; none means all there are.
        model: the model they are for; empty: whether they suit a model is not checked.
        revision: branch, tag or commit of a hub model.
        optional: the names come from a plan, not from a user: skip what is impossible here.
        own_recipes: a folder of the user's own recipes.
        convert_pickle: pickled weights of the model are converted.

    Prints one line for each recipe that is skipped.  Raises UnusableInputError for a named recipe
    that is unknown or cannot be built or run here, and for a model that cannot be loaded.

    """
    recipes = read_recipes(names, own_recipes)
    reasons = {recipe.name: why_not(recipe) for recipe in recipes}
    if model:
        reasons = _with_models_reasons(recipes, reasons, model, revision, convert_pickle)
    if names and not optional:
        for name, why in reasons.items():
            if why:
                raise UnusableInputError(f"{name} {why}")
        return Choice(tuple(recipes), named=True)
    skipped = tuple(Skipped(name, why) for name, why in reasons.items() if why)
    say_skipped(skipped)
    return Choice(tuple(r for r in recipes if reasons[r.name] is None), skipped)


def say_skipped(skipped: Sequence[Skipped]) -> None:
    """Print one line for each variant that is left out."""
    from ..console import say  # here: servers ask for reasons too, and print nothing

    for entry in skipped:
        say(f"skipped: {entry.variant} {entry.why}")


def _with_models_reasons(
    recipes: Sequence[Recipe],
    reasons: dict[str, str | None],
    model: str,
    revision: str | None,
    convert_pickle: bool,
) -> dict[str, str | None]:
    """Return the reasons, and for recipes without one, why they cannot be made of the model."""
    from ..models.loading import config_of, has_wordpiece  # here: a server cannot import it

    config = config_of(model, revision, convert_pickle)
    refused = {r.name: reasons[r.name] or why_not_of_model(r, config) for r in recipes}
    pruned = [r.name for r in recipes if "prune-vocabulary" in r.steps and not refused[r.name]]
    if pruned and not has_wordpiece(model, revision, convert_pickle):
        refused |= dict.fromkeys(pruned, NO_WORDPIECE)
    return refused


def _why_no_cuda(kind: Kind) -> str | None:
    try:
        # Try the driver first: most machines have none, and importing torch takes seconds.
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return CUDA
    if "torch" not in kind.distributions:
        return None
    import torch

    if torch.version.cuda is None:
        return f"{CUDA}: this PyTorch ({torch.__version__}) was built without it"
    return None if torch.cuda.is_available() else CUDA


def why_not_of_model(recipe: Recipe, config: Mapping[str, Any]) -> str | None:
    """Return in one line why a recipe cannot be made of a model, or None if it can."""
    from ..models.families import FAMILIES, NOT_IN_ONNX, family  # here: servers need no families

    kin = family(config)
    activation = kin.activation(config)
    if "export" in recipe.steps and activation in NOT_IN_ONNX:
        return f"is not made of this model: its activation {activation} has no ONNX operators"
    able = recipe.kind.families
    if able and kin.kind not in able:
        titles = " or ".join(FAMILIES[name].title for name in able)
        return f"is not made of this model: it is made of a {titles} only, not of {kin.title}"
    return None
