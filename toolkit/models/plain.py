"""A model as plain transformers reads its folder: the judge of how it is read here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import read_json
from . import ernie, layout
from .checkpoints import quiet_loading
from .families import Family
from .headers import line_of, tensor_names
from .recognition import without_running

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class PlainNetwork:
    """A network that transformers loaded by itself; without one, ``why_not`` says why.

    ``title`` is the class of transformers that was asked to load it.
    """

    title: str
    network: PreTrainedModel | None = None
    why_not: str = ""


def plain_network(folder: Path, model_family: Family) -> PlainNetwork:
    """Load a folder with the family's class of transformers, in float32, without running code.

    The class is named, as ``AutoModelForMaskedLM`` would go by a ``model_type`` that may be wrong.
    Where transformers makes up weights that it does not find, it is no judge.  The exception is a
    bias of the head under its other name: transformers before 5 read it, so it is put in place.
    """
    import torch
    import transformers

    if _is_ernie(folder):
        model_family = ernie.AS_PUBLISHED
    title = model_family.architectures[0]
    config = without_running(read_json(folder / "config.json"))
    # A padding id matters to training alone, and one past the vocabulary cannot be loaded.
    config = {**config, "model_type": model_family.kind, "pad_token_id": None}
    try:
        with quiet_loading():
            loaded: Any = getattr(transformers, title).from_pretrained(
                folder,
                config=getattr(transformers, model_family.configuration).from_dict(config),
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises many types
        return PlainNetwork(title, why_not=f"it cannot load the folder ({line_of(error)[:200]})")
    network, report = loaded
    missing = set(report["missing_keys"])
    if model_family.decoder_bias and missing == {model_family.decoder_bias}:
        with torch.no_grad():
            network.get_parameter(model_family.decoder_bias).copy_(
                network.get_parameter(model_family.head_bias)
            )
        missing = set()
    if missing:
        return PlainNetwork(title, why_not=f"it does not find {_counted(missing)} in the files")
    return PlainNetwork(title, network.eval())


def _is_ernie(folder: Path) -> bool:
    names = tensor_names(layout.weight_files(folder))
    return any(ernie.KIND in name.split(".") for name in names)


def _counted(names: set[str]) -> str:
    more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"{min(names)}{more}"
