"""Channels far out of line share their size between the two sides; the function stays the same."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from family_models import KINDS, random_network

from tiankong.toolkit.graphs.equalization import ATTENTION, HEAD, LAST_NORM, equalized

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

EIGHT_BITS = ("onnx-int8", "onnx-int8-small", "openvino-int8")
IDS = torch.arange(5, 25)[None]


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = network(input_ids=IDS).logits
    return result


def plant(network: Any, kind: str, size: float = 200.0) -> list[tuple[Any, int]]:
    """Scale channels of all pairs; return the weights of the larger sides, with the channels."""
    larger: list[tuple[Any, int]] = []

    def scale(made: Any, read: torch.Tensor, channel: int, by: float = size) -> None:
        made.weight[channel] *= by
        made.bias[channel] *= by
        read /= by
        larger.append((made.weight, channel))

    with torch.no_grad():
        query = ATTENTION[kind][0]
        for name, _ in list(network.named_modules()):
            if name.endswith(f".{query}"):
                block = name.removesuffix(f".{query}")
                parts = [network.get_submodule(f"{block}.{n}") for n in ATTENTION[kind]]
                scale(parts[2], parts[3].weight[:, 5], 5)
                scale(parts[2], parts[3].weight[:, 9], 9, -size)
                scale(parts[0], parts[1].weight[7], 7)
                parts[1].bias[7] /= size
        if kind in LAST_NORM:
            norm = network.get_submodule(
                LAST_NORM[kind].format(network.config.num_hidden_layers - 1)
            )
            scale(norm, network.get_submodule(HEAD[kind][0]).weight[:, 3], 3)
    return larger


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_function_before_meanwhile_and_afterwards(kind: str) -> None:
    network = random_network(kind)
    plain = logits(network)
    larger = plant(network, kind)
    planted, weights = logits(network), copy.deepcopy(network.state_dict())
    assert torch.allclose(planted, plain, atol=1e-4)
    sizes = [weight[channel].abs().max().item() for weight, channel in larger]
    with equalized(network):
        assert torch.allclose(logits(network), planted, atol=1e-5)
        now = [weight[channel].abs().max().item() for weight, channel in larger]
        assert all(10 * new < old for new, old in zip(now, sizes, strict=True))
    assert all(torch.equal(weights[name], t) for name, t in network.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_an_ordinary_network_is_not_touched(kind: str) -> None:
    network = random_network(kind)
    before = copy.deepcopy(network.state_dict())
    with equalized(network):
        assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_a_decoder_of_its_own_takes_part() -> None:
    network = random_network("bert", tie_word_embeddings=False)
    norm, decoder = network.cls.predictions.transform.LayerNorm, network.cls.predictions.decoder
    with torch.no_grad():
        norm.weight[2] *= 500
        norm.bias[2] *= 500
        decoder.weight[:, 2] /= 500
    expected = logits(network)
    with equalized(network):
        assert norm.weight[2].abs() < 50
        assert torch.allclose(logits(network), expected, atol=1e-5)


def test_eight_bits_pass_the_gate_in_spite_of_outliers(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without equalization these variants answer one gold item of six."""
    from tiankong.toolkit.building.store import Store
    from tiankong.toolkit.gate.examination import ensure
    from tiankong.toolkit.gate.gold import find_gold

    base, folder = small_variants["pytorch-fp32"].folder, tmp_path / "outliers"
    network = transformers.AutoModelForMaskedLM.from_pretrained(base)
    plant(network, "bert")
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    eight_bits = [name for name in EIGHT_BITS if name in small_variants]
    gated = ensure(Store(str(folder)), ["pytorch-fp32", *eight_bits], find_gold("builtin"))
    reasons = {
        built.manifest.variant: built.manifest.gate["reasons"]
        for built in gated
        if built.manifest.gate
    }
    assert reasons == {name: [] for name in ("pytorch-fp32", *eight_bits)}
