"""Bfloat16; float16 where there is a CUDA device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tiankong.toolkit.building.availability import BF16, why_not
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import Recipe, read_recipes
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.torch_engine import TorchEngine
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

TEXT = "床前明月光,疑是地[MASK]霜。"
(BFLOAT,) = read_recipes(["pytorch-bf16"])
(ON_CARD,) = read_recipes(["pytorch-fp16-cuda"])
needs_cuda = pytest.mark.skipif(why_not(ON_CARD) is not None, reason="needs CUDA")


def kinds(folder: Path) -> set[torch.dtype]:
    with safe_open(folder / "model.safetensors", "pt") as weights:
        return {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118


@pytest.mark.skipif(why_not(BFLOAT) is not None, reason=BF16)
def test_bfloat16_on_disk_and_in_arithmetic(small_variants: dict[str, Built]) -> None:
    built = small_variants["pytorch-bf16"]
    assert kinds(built.folder) == {torch.bfloat16}
    assert kinds(small_variants["pytorch-fp32"].folder) == {torch.float32}
    predictor = open_variant(built.folder)
    engine = predictor.engine
    assert isinstance(engine, TorchEngine)
    assert {weight.dtype for weight in engine._network.parameters()} == {torch.bfloat16}
    batch = predictor.encoder.batch([predictor.encoder.encode(TEXT)])
    logits = engine.logits(batch)
    whole = open_variant(small_variants["pytorch-fp32"].folder).engine.logits(batch)
    assert logits.dtype == np.float32
    assert 1e-3 < np.abs(logits - whole).max() < 0.5


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_folder_that_cannot_be_loaded(tmp_path: Path, device: str) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UnusableInputError, match="PyTorch cannot load"):
        TorchEngine(tmp_path, precision="fp16", device=device)


@pytest.mark.skipif(why_not(ON_CARD) is None, reason="there is a CUDA device")
def test_without_a_device_nothing_pretends(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    """A variant built elsewhere is refused here before anything is loaded."""
    assert "pytorch-fp16-cuda" not in small_variants
    manifest = json.loads(
        (small_variants["pytorch-fp32"].folder / "variant.json").read_text(encoding="utf-8")
    )
    manifest |= {"recipe": ON_CARD.as_json(), "variant": ON_CARD.name, "files": {}}
    (tmp_path / "variant.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UnusableInputError, match=r"^pytorch-fp16-cuda needs CUDA"):
        open_variant(tmp_path)


@needs_cuda
def test_float16_on_the_device(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_variant(small_variants["pytorch-fp32"].folder)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    (built,) = Store("builtin-small").build([ON_CARD.name])
    assert kinds(built.folder) == {torch.float16}
    predictor = open_variant(built.folder)
    assert isinstance(predictor.engine, TorchEngine)
    assert predictor.engine._network.device.type == "cuda"
    batch = predictor.encoder.batch([predictor.encoder.encode(TEXT)])
    difference = np.abs(predictor.engine.logits(batch) - whole.engine.logits(batch)).max()
    assert difference < 0.1
    assert predictor.predict([TEXT])[0][0][0].token == "上"


def test_manifests_of_before_still_compare() -> None:
    """Written without the keys precision and device, a recipe is the same as today's."""
    for recipe in read_recipes(["pytorch-fp32", "onnx-int8"]):
        data = recipe.as_json()
        del data["precision"], data["device"]
        assert Recipe.from_json(data, "x") == recipe
