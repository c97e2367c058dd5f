"""The functions that write a variant's model into its folder; engines name theirs in kinds.py.

What such a function returns, if anything, are notes for the manifest.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import write_json
from .manifest import EIGHT_BITS
from .recipes import FIXED

if TYPE_CHECKING:
    from .recipes import Recipe
    from .workshop import Workshop


def write_graph(workshop: Workshop, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Write the ONNX graph that the recipe's steps make; return what was found for 8 bits."""
    target = folder / recipe.file
    shutil.copyfile(workshop.graph(recipe), target)
    if FIXED not in recipe.steps:
        return {}
    from ..graphs.eight_bits import read_facts

    return {EIGHT_BITS: read_facts(target)}


def write_weights(workshop: Workshop, recipe: Recipe, folder: Path) -> None:
    """Write the weights as transformers does, rounded to the recipe's precision."""
    import torch
    from transformers.utils import logging

    from ..engines.torch_engine import DTYPES
    from ..graphs.half import require_rounded

    workshop.step(f"{recipe.name}: write weights")
    logging.disable_progress_bar()  # our own is on the screen already
    network, kind = workshop.loaded.network, DTYPES[recipe.precision]
    if network.dtype == kind:
        network.save_pretrained(folder)
    else:  # other recipes need the network as it is
        rounded: Any = copy.deepcopy(network)
        rounded.to(kind)
        require_rounded(network, rounded, recipe.precision, torch.finfo(kind).max)
        rounded.save_pretrained(folder)


def write_openvino(workshop: Workshop, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Write an OpenVINO model as Optimum reads it; what recipes share is converted only once.

    Returns what was found for 8 bits.
    """
    from ..graphs import conversion
    from ..graphs.equalization import equalized

    target, plain = folder / recipe.file, workshop.scratch / "openvino_model.xml"
    origin = workshop.origin(())
    if not plain.exists():
        workshop.step(f"{recipe.name}: export")
        with equalized(workshop.loaded.network):
            conversion.convert(
                workshop.loaded.network, plain, origin.calibration[0], origin.mask_id
            )
    last, notes = recipe.steps[-1], dict[str, Any]()
    workshop.step(f"{recipe.name}: {last}")
    if last == FIXED:
        found = conversion.quantize(plain, target, origin.calibration, recipe.budget)
        notes = {EIGHT_BITS: found}
    elif last == "fp16":
        conversion.store_half(plain, target)
    else:
        for suffix in (".xml", ".bin"):
            shutil.copyfile(plain.with_suffix(suffix), target.with_suffix(suffix))
    conversion.offer_logits(target, origin.mask_id)
    # Optimum looks for the configuration beside the model too.
    write_json(target.parent / "config.json", workshop.source(recipe.steps).config)
    return notes
