"""Folders of checkpoints, changed as they lie on the hub; what is read from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.loading import load_model

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]
    Change = Callable[[Tensors], Tensors]

WEIGHTS = "model.safetensors"
HEAD = "cls.predictions."


def edit_config(folder: Path, **changes: Any) -> None:
    """Change keys of config.json (None deletes)."""
    data = {**json.loads((folder / "config.json").read_text()), **changes}
    kept = {key: value for key, value in data.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def edit_weights(folder: Path, change: Change) -> None:
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / WEIGHTS))
    save_file({n: t.clone() for n, t in tensors.items()}, folder / WEIGHTS, {"format": "pt"})


def renamed(change: Callable[[str], str]) -> Change:
    return lambda tensors: {change(name): tensor for name, tensor in tensors.items()}


def logits(folder: Path) -> torch.Tensor:
    import torch

    ids = torch.tensor([[2, 9, 4, 30, 4, 11, 3]])
    with torch.inference_mode():
        answer: torch.Tensor = load_model(str(folder)).network(input_ids=ids).logits
    return answer


def remarks(folder: Path) -> str:
    return "; ".join(load_model(str(folder)).remarks)


def refused(folder: Path) -> str:
    with pytest.raises(UnusableInputError) as caught:
        load_model(str(folder))
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line


def same(folder: Path, right: Path) -> bool:
    import torch

    return torch.equal(logits(folder), logits(right))


def built(folder: Path) -> dict[str, Any]:
    """Build the reference, which compares it with plain transformers; return its notes."""
    (reference,) = Store(str(folder)).build(["pytorch-fp32"])
    from transformers import AutoModelForMaskedLM

    _, report = AutoModelForMaskedLM.from_pretrained(reference.folder, output_loading_info=True)
    assert not any(report.values())
    return dict(reference.manifest.notes)
