"""What kind of model a folder holds: its tensors decide, whatever config.json says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnusableInputError
from . import ernie
from .families import FAMILIES, KNOWN, Family
from .headers import some
from .naming import unwrapped

OTHERS = {"big_bird": "BigBird"}
"""Models whose tensors are named as BERT's and mean something else (sparse attention)."""
RUNNING = {
    "return_dict", "use_return_dict", "output_hidden_states", "output_attentions", "torchscript",
    "attn_implementation", "_attn_implementation", "_attn_implementation_autoset",
}  # fmt: skip
ROBERTA = ("roberta.", "lm_head.")
FOREIGN_ENDS = ("kernel", "kernel:0", "embedding", "embeddings:0")  # TensorFlow, Flax


@dataclass(frozen=True)
class Recognized:
    """A configuration that says what the model is, and what was unusual about the one found."""

    config: dict[str, Any]
    remarks: tuple[str, ...] = ()


def recognize(config: Mapping[str, Any], names: Collection[str] | None, where: str) -> Recognized:
    """Return the configuration of a model with tensors of these names (None: they are not here).

    Without tensors ``model_type`` and ``architectures`` must be right.  Raises UnusableInputError
    for a model of no known family, and for one without a head that fills blanks.
    """
    said = config.get("model_type")
    by_config = FAMILIES.get("bert" if said == ernie.KIND else str(said))
    if isinstance(said, str) and said in OTHERS:
        raise UnusableInputError(f"{where} is a {OTHERS[said]}: name a {KNOWN}")
    model_family = by_config
    if names is not None:
        model_family = _by_tensors({*map(unwrapped, names)}, by_config, said, where)
    if model_family is None:
        raise UnusableInputError(f"{where} says model_type {said!r}: name a {KNOWN}")
    classes = _classes(config, where)
    fills = classes & {*model_family.architectures, *ernie.AS_PUBLISHED.architectures}
    if classes and not fills and names is None:
        raise UnusableInputError(
            f"{where} says {', '.join(sorted(classes))}, which fills no blanks: name a model saved"
            f" as {' or '.join(model_family.architectures)}"
        )
    remarks = []
    if said == ernie.KIND and model_family is by_config:
        remarks.append("an ERNIE, read as a BERT")
    elif model_family is not by_config:
        says = "names no model_type" if said is None else f"says model_type {said!r}"
        remarks.append(f"config.json {says}, the tensors are {_a(model_family)}'s")
    elif classes and not fills:
        words = ", ".join(sorted(classes))
        remarks.append(f"config.json says {words}, and the head that fills blanks is there")
    changed = {**without_running(config), "model_type": model_family.kind}
    if classes and not classes & {*model_family.architectures}:
        changed["architectures"] = [model_family.architectures[0]]
    return Recognized(changed, tuple(remarks))


def without_running(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without what only says how transformers is to run the model."""
    return {key: value for key, value in config.items() if key not in RUNNING}


def _classes(config: Mapping[str, Any], where: str) -> set[str]:
    """Return the classes that ``architectures`` names."""
    named = config.get("architectures") or []
    if not isinstance(named, list):
        raise UnusableInputError(f"{where}: architectures is {named!r}, not a list")
    return set(map(str, named))


def _by_tensors(
    names: Collection[str], by_config: Family | None, said: object, where: str
) -> Family:
    """Return the family whose head is among the tensors; that of config.json if several are."""
    found = [family for family in FAMILIES.values() if _has(names, family.sign)]
    if by_config is not None and by_config in found:
        return by_config
    if len(found) == 1:
        return found[0]
    if found:
        raise UnusableInputError(
            f"{where} has the heads of {' and of '.join(_a(f) for f in found)}: say in config.json"
            f" which is meant (model_type {' or '.join(f.kind for f in found)})"
        )
    if any(name.startswith(ROBERTA[0]) or f".{ROBERTA[0]}" in name for name in names):
        begins = " and ".join(b for b in ROBERTA if any(b in name for name in names))
        raise UnusableInputError(
            f"{where} is a RoBERTa (its tensors are named {begins}), which is not read here: name"
            f" a {KNOWN}"
        )
    if any(name.endswith(FOREIGN_ENDS) for name in names):
        raise UnusableInputError(
            f"{where} has tensors named as TensorFlow or Flax name them ({some(sorted(names))}):"
            " name a model that was saved from PyTorch"
        )
    if by_config is None:
        raise UnusableInputError(
            f"{where} says model_type {said!r}, and its tensors ({some(sorted(names))}) are of no"
            f" head that fills blanks: name a {KNOWN}"
        )
    raise UnusableInputError(
        f"{where} has no head to fill blanks with ({by_config.sign} is missing):"
        f" name a model saved as {' or '.join(by_config.architectures)}"
    )


def _has(names: Collection[str], sign: str) -> bool:
    return any(name == sign or name.endswith(f".{sign}") for name in names)


def _a(model_family: Family) -> str:
    title = model_family.title
    return f"{'an' if title[0] in 'AE' else 'a'} {title}"
