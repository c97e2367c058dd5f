"""Recipes: how a variant is made and what it promises, one TOML file each in ``variants/``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..engines.kinds import Kind, all_kinds, find_kind, kind_of
from ..errors import UnusableInputError
from ..fields import read_toml
from ..files import package_path

SHIPPED = "onnx-int8"  # the default variant, if none is named

FOLDER = package_path("variants")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
REFERENCE = "pytorch-fp32"
OWN = "own-"  # how names of variants made from a user's file begin
STEPS = (
    "export", "fuse", "head-at-mask", "last-layer-at-mask", "plain-norms", "plain-gelu", "top-k",
    "fp16", "fp16-naive", "int8-dynamic", "int8-static", "share-embedding", "small-tables",
    "prune-vocabulary",
)  # fmt: skip
STEP_MAKERS = {"fp16-naive": ("onnxconverter-common",)}
"""The distributions that a step needs beside the engine's own makers."""
FIXED = "int8-static"  # the step that fixes 8-bit scales
PRECISIONS = ("fp32", "bf16", "fp16")
DEVICES = ("cpu", "cuda")
INDEPENDENT, DEPENDENT = BATCH = ("independent", "dependent")


@dataclass(frozen=True)
class Promise:
    """What a variant promises against the reference, on every gold set.

    Shares lie in 0..1.  ``top1_agreement`` and ``top5_agreement`` are the least shares of items
    with the reference's top-1 and top-5 (compared as a set; if ``ordered``, as a sequence).
    ``max_delta`` bounds the difference of any top-5 probability.  ``hit_at_5_loss`` is how far
    hit@5 may fall below the reference's.  ``hit_at_5`` is the least hit@5, the only promise that
    needs no reference.  ``divergence`` bounds the mean divergence from the reference over gold and
    probe sentences, ``worst_divergence`` the largest, both in nats (see fidelity.py).
    ``batch_delta`` bounds how much a top-5 probability may depend on the batch; tokens whose
    probabilities differ by at most the fraction ``batch_tie`` may swap places there.
    """

    top1_agreement: float = 0.0
    top5_agreement: float = 0.0
    ordered: bool = False
    max_delta: float | None = None
    hit_at_5_loss: float | None = None
    divergence: float | None = None
    worst_divergence: float | None = None
    batch_delta: float = 1e-3
    batch_tie: float = 1e-3
    hit_at_5: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """One way to make a variant: the engine that runs it, the steps that make its file.

    ``precision`` is the precision of the arithmetic (in an 8-bit variant, of the operators that are
    not 8-bit), ``device`` where it runs.  ``batch`` is ``independent``, or ``dependent`` if an
    answer depends on the other sentences of its batch (scales taken from the whole tensor); a
    server runs such a variant one sentence at a time.  ``pad_to``: sentences are padded to a
    multiple of so many tokens, in a batch and alone.  If the last bits depend on the padded length,
    sentences of similar length can then share a batch without any change; and an engine that
    prepares for each length has fewer lengths.  ``budget`` is the mean divergence on the
    calibration sentences, in nats, that fixed 8-bit scales may cost; beyond it single products stay
    in float32.
    """

    name: str
    summary: str
    engine: str
    file: str
    steps: tuple[str, ...]
    promise: Promise = field(default_factory=Promise)
    precision: str = "fp32"
    device: str = "cpu"
    batch: str = INDEPENDENT
    pad_to: int = 1
    budget: float | None = None

    @property
    def kind(self) -> Kind:
        """The engine that runs it."""
        return kind_of(self.engine)

    @property
    def makers(self) -> tuple[str, ...]:
        """The distributions that build it: if the version of one changes, it is built again."""
        others = (name for step in self.steps for name in STEP_MAKERS.get(step, ()))
        return (*self.kind.makers, *others)

    @property
    def brought(self) -> bool:
        """Whether the variant is a user's file (see brought.py), not made by steps."""
        return self.kind.runs_brought and not self.steps

    def as_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON object (the form the manifest keeps)."""
        facts = asdict(self) | {"steps": list(self.steps)}
        if self.budget is None:  # as manifests of before
            del facts["budget"]
        return facts

    @classmethod
    def from_json(cls, data: Mapping[str, Any], origin: str) -> Recipe:
        """Return the recipe of a parsed TOML or JSON object; raise UnusableInputError if broken."""
        known = set(cls.__dataclass_fields__)
        if unknown := sorted(set(data) - known):
            raise UnusableInputError(f"{origin}: unknown key {unknown[0]!r}")
        _check_strings(origin, data)
        if not NAME.fullmatch(data["name"]):
            raise UnusableInputError(f"{origin}: name {data['name']!r} is not like 'onnx-int8'")
        kind = find_kind(data["engine"])
        if kind is None:
            raise UnusableInputError(_choice(origin, "engine", data["engine"], list(all_kinds())))
        if Path(data["file"]).is_absolute() or ".." in Path(data["file"]).parts:
            raise UnusableInputError(f"{origin}: file {data['file']!r} must lie inside the folder")
        steps = data.get("steps", [])
        if not isinstance(steps, list):
            raise UnusableInputError(f"{origin}: 'steps' is not a list")
        for step in steps:
            if step not in STEPS:
                raise UnusableInputError(_choice(origin, "step", step, STEPS))
        _check_steps(origin, kind, steps)
        precision, device = data.get("precision", "fp32"), data.get("device", "cpu")
        _check_arithmetic(origin, kind, precision, device)
        batch = data.get("batch", DEPENDENT if "int8-dynamic" in steps else INDEPENDENT)
        if batch not in BATCH:
            raise UnusableInputError(_choice(origin, "batch", batch, BATCH))
        pad_to = data.get("pad_to", 1)
        if isinstance(pad_to, bool) or not isinstance(pad_to, int) or pad_to < 1:
            raise UnusableInputError(f"{origin}: pad_to = {pad_to!r} is not a number of tokens")
        return cls(
            data["name"], data["summary"], data["engine"], data["file"], tuple(steps),
            _promise(data.get("promise", {}), origin), precision, device, batch, pad_to,
            _budget(data.get("budget"), steps, origin),
        )  # fmt: skip


def _check_strings(origin: str, data: Mapping[str, Any]) -> None:
    for key in ("name", "summary", "engine", "file"):
        if not isinstance(data.get(key), str) or not data[key]:
            raise UnusableInputError(f"{origin}: {key!r} is missing or is not a string")


def _check_steps(origin: str, kind: Kind, steps: Sequence[str]) -> None:
    if kind.runs_brought and not steps:
        return
    count = len(kind.first_steps)
    first, last = tuple(steps[:count]), steps[count:]
    fitting = kind.last_steps is None or (len(last) <= 1 and set(last) <= set(kind.last_steps))
    if first != kind.first_steps or not fitting:
        raise UnusableInputError(f"{origin}: {_wanted_steps(kind)}")
    if "export" in steps[1:]:
        raise UnusableInputError(f"{origin}: the step 'export' only begins a recipe")


def _wanted_steps(kind: Kind) -> str:
    """Return a sentence that says which steps an engine's recipes have."""
    first, last = kind.first_steps, kind.last_steps
    if last is None:
        quoted = " and ".join(f"'{step}'" for step in first)
        return f"{_an(kind.name)} recipe begins with the step {quoted}"
    if not (first or last):
        return f"{_an(kind.name)} recipe takes no steps"
    after = f", after them {', '.join(f'{step!r}' for step in last)} or nothing" if last else ""
    return f"the steps of {_an(kind.name)} recipe are {', '.join(first)}{after}"


def _an(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _check_arithmetic(origin: str, kind: Kind, precision: object, device: object) -> None:
    if precision not in PRECISIONS:
        raise UnusableInputError(_choice(origin, "precision", precision, PRECISIONS))
    if device not in DEVICES:
        raise UnusableInputError(_choice(origin, "device", device, DEVICES))
    if kind.precisions == ("fp32",) and precision != "fp32":
        raise UnusableInputError(f"{origin}: {_an(kind.name)} recipe takes no precision")
    if device not in kind.devices:
        capable = " or ".join(_an(k.name) for k in all_kinds().values() if device in k.devices)
        raise UnusableInputError(f"{origin}: only {capable} recipe runs on the device {device!r}")
    if precision == "fp16" and device == "cpu":
        raise UnusableInputError(f"{origin}: a CPU does not compute in fp16: set device = 'cuda'")
    if precision not in kind.precisions:
        raise UnusableInputError(_choice(origin, "precision", precision, kind.precisions))


def _budget(given: object, steps: Sequence[str], origin: str) -> float | None:
    if given is None:
        return None
    if FIXED not in steps:
        raise UnusableInputError(f"{origin}: a budget is for the step {FIXED!r}")
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= 1:
        raise UnusableInputError(f"{origin}: budget = {given!r} is not in 0..1")
    return float(given)


def _choice(origin: str, what: str, given: object, known: Sequence[str]) -> str:
    return f"{origin}: unknown {what} {given!r}; known: {', '.join(known)}"


def _promise(data: object, origin: str) -> Promise:
    if not isinstance(data, Mapping):
        raise UnusableInputError(f"{origin}: 'promise' is not a table")
    fields = Promise.__dataclass_fields__
    for key, value in data.items():
        if key not in fields:
            raise UnusableInputError(_choice(origin, "promise", key, list(fields)))
        if key == "ordered":
            if not isinstance(value, bool):
                raise UnusableInputError(f"{origin}: promise.ordered is not true or false")
        elif value is None and fields[key].default is None:
            continue
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise UnusableInputError(f"{origin}: promise.{key} = {value!r} is not in 0..1")
    return Promise(**data)


def read_recipe(path: Path) -> Recipe:
    """Read one recipe; its name must be the file's.  Raises UnusableInputError."""
    origin = f"recipe {path.name}"
    recipe = Recipe.from_json(read_toml(path, origin), origin)
    if recipe.name != path.stem:
        raise UnusableInputError(
            f"recipe {path.name}: its name is {recipe.name!r}: name both alike, {path.stem!r}"
        )
    if recipe.brought:
        raise UnusableInputError(f"recipe {path.name}: {_wanted_steps(recipe.kind)}")
    return recipe


def read_recipes(names: Sequence[str] = (), own_recipes: Path | None = None) -> list[Recipe]:
    """Return the named recipes (all there are, the reference first, if none is named).

    ``own_recipes`` is a folder of the user's own, in addition to the shipped ones.  Raises
    UnusableInputError for an unknown name, a broken file and a name that is taken.
    """
    paths = _files(FOLDER) | ({} if own_recipes is None else _own_files(own_recipes))
    for name in names:
        if name not in paths:
            places = FOLDER if own_recipes is None else f"{FOLDER}, {own_recipes}"
            raise UnusableInputError(
                f"unknown variant {name!r}; known: {', '.join(paths)} ({places})"
            )
    chosen = list(dict.fromkeys(names)) or sorted(paths, key=lambda name: (name != REFERENCE, name))
    return [read_recipe(paths[name]) for name in chosen]


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _own_files(folder: Path) -> dict[str, Path]:
    paths = _files(folder)
    if not paths:
        raise UnusableInputError(f"--recipes {folder}: no recipe (*.toml) is there")
    for name in paths:
        if name in _files(FOLDER):
            raise UnusableInputError(
                f"--recipes {folder}: the name {name} is a shipped recipe's: choose another"
            )
        if name.startswith(OWN):
            raise UnusableInputError(
                f"--recipes {folder}: {name}: names with {OWN!r} are those of files brought by"
                " --onnx: choose another"
            )
    return paths
