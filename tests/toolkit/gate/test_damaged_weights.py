"""Damaged weights are rejected in every kind of file; damage that changes no answer passes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from planted_damage import Change, Greenhouse, Weights, harmless, rejected, spoil_weights, zeroed

from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.manifest import read_manifest, record_files, write_manifest
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.gate.examination import gate
from tiankong.toolkit.gate.gold import GoldSet, read_gold
from tiankong.toolkit.graphs import quantization
from tiankong.toolkit.graphs import steps as graphs

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

VARIANTS = ["pytorch-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8"]

# Among all matrices those that move answers least (seen: 0.01 nats), and one of each kind.
MATRICES = [
    (2, "attention.self.query"), (2, "attention.self.key"), (3, "attention.self.query"),
    (3, "attention.self.value"), (2, "attention.output.dense"), (3, "output.dense"),
    (1, "intermediate.dense"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "matrix"), MATRICES)
@pytest.mark.parametrize("variant", ["onnx-fp16", "onnx-int8"])
def test_a_matrix_zeroed(variant: str, layer: int, matrix: str, greenhouse: Greenhouse) -> None:
    rejected(greenhouse.check(variant, spoil_weights(zeroed(layer, matrix))))


def swapped(one: int, other: int) -> Change:
    """Swap the weights of two layers (``collect`` sees all names before the change is made)."""
    seen: Weights = {}

    def collect(name: str, weight: np.ndarray) -> np.ndarray | None:
        seen[name] = weight
        return None

    def change(name: str, weight: np.ndarray) -> np.ndarray | None:
        for here, there in ((one, other), (other, one)):
            for pattern in ("layer.{}.", "Attention_{}_qkv"):
                if pattern.format(here) in name:
                    return seen[name.replace(pattern.format(here), pattern.format(there))]
        return None

    change.collect = collect  # type: ignore[attr-defined]
    return change


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_layers_swapped(variant: str, greenhouse: Greenhouse) -> None:
    change = swapped(1, 2)

    def spoil(folder: Path) -> None:
        with pytest.raises(AssertionError, match="found no weight"):
            spoil_weights(change.collect)(folder)  # type: ignore[attr-defined]
        spoil_weights(change)(folder)

    rejected(greenhouse.check(variant, spoil))


def three_bits(name: str, weight: np.ndarray) -> np.ndarray | None:
    """Round every matrix to 8 steps a row."""
    if weight.ndim != 2 or not (np.issubdtype(weight.dtype, np.floating) or weight.dtype == "i1"):
        return None
    values = weight.astype(np.float64)
    step = np.maximum(np.abs(values).max(axis=1, keepdims=True), 1e-9) / 3.5
    return np.clip(np.rint(values / step), -4, 3) * step


def no_biases(name: str, weight: np.ndarray) -> np.ndarray | None:
    if weight.ndim == 1 and ("bias" in name) and np.issubdtype(weight.dtype, np.floating):
        return np.zeros_like(weight)
    return None


def one_bias_less(name: str, weight: np.ndarray) -> np.ndarray | None:
    return np.zeros_like(weight) if "layer.2.intermediate.dense.bias" in name else None


def one_layer_without_biases(name: str, weight: np.ndarray) -> np.ndarray | None:
    return no_biases(name, weight) if "layer.2." in name else None


def late_positions(name: str, weight: np.ndarray) -> np.ndarray | None:
    """Damage positions that no gold sentence reaches."""
    if "position_embeddings.weight" not in name:
        return None
    spoiled = weight.copy()
    spoiled[64:] = spoiled[64:][::-1]
    return spoiled


def rows_shifted(name: str, weight: np.ndarray) -> np.ndarray | None:
    """Shift the vocabulary by one, in the weights."""
    shared = ("word_embeddings.weight", "decoder.weight", "word_embeddings.weight_int8")
    return np.roll(weight, 1, axis=0) if any(s in name for s in shared) else None


def types_swapped(name: str, weight: np.ndarray) -> np.ndarray | None:
    return weight[::-1] if "token_type_embeddings.weight" in name else None


@pytest.mark.parametrize("variant", ["pytorch-fp32", "onnx-fp16"])
def test_one_vector_less_shows_in_float(variant: str, greenhouse: Greenhouse) -> None:
    """In 8 bits the damage is hidden by the promised rounding error (0.003 against 0.002 nats)."""
    rejected(greenhouse.check(variant, spoil_weights(one_bias_less)))


@pytest.mark.parametrize(
    "change",
    [three_bits, no_biases, one_layer_without_biases, late_positions, rows_shifted, types_swapped],
)
@pytest.mark.parametrize("variant", ["pytorch-fp32", "onnx-fp16", "onnx-int8"])
def test_damaged_weights(variant: str, change: Change, greenhouse: Greenhouse) -> None:
    rejected(greenhouse.check(variant, spoil_weights(change)))


def test_a_key_bias_less_is_harmless(greenhouse: Greenhouse) -> None:
    """It adds the same number to every score of a query, which softmax cancels."""

    def change(name: str, weight: np.ndarray) -> np.ndarray | None:
        return np.zeros_like(weight) if "self.key.bias" in name else None

    harmless(greenhouse.check("onnx-fp32", spoil_weights(change)))


def test_a_matrix_of_a_layer_that_cancels_out_is_harmless() -> None:
    """In a grown model's inserted layers: answers stay the same to the last bits, so it passes."""
    import torch

    from tiankong.toolkit.models.builtin.grow import grow
    from tiankong.toolkit.models.loading import load_model

    small = load_model("builtin-small")
    ids = torch.tensor([TextEncoder(small.tokenizer).encode("床前明月光,疑是地[MASK]霜。")])
    grown = grow(small.network, layers=8, hidden=256, vocabulary=7021).eval()
    with torch.inference_mode():
        before = grown(input_ids=ids).logits
        inserted = grown.bert.encoder.layer[1]
        parts = [inserted.attention.self.query, inserted.attention.self.value,
                 inserted.attention.output.dense, inserted.intermediate.dense,
                 inserted.output.dense]  # fmt: skip
        for part in parts:
            kept = part.weight.clone()
            part.weight.zero_()
            assert float((grown(input_ids=ids).logits - before).abs().max()) < 1e-4
            part.weight.copy_(kept)
        grown.bert.encoder.layer[0].attention.self.query.weight.zero_()  # not an inserted one
        assert float((grown(input_ids=ids).logits - before).abs().max()) > 1.0


# --- 8 bits without a scale for each channel -----------------------------------------------------


def with_outliers(network: BertForMaskedLM) -> None:
    """Plant outlier channels that change no answer: a query's times 40, its key's divided by 40."""
    import torch

    with torch.no_grad():
        for layer in network.bert.encoder.layer:
            attention = layer.attention.self
            for head in range(network.config.num_attention_heads):
                channel = head * 64 + 7
                for part, factor in ((attention.query, 40.0), (attention.key, 1 / 40)):
                    part.weight[channel] *= factor
                    part.bias[channel] *= factor


def one_scale(
    weight: np.ndarray, axis: int, importance: object = None
) -> tuple[np.ndarray, np.ndarray]:
    """Round a weight matrix with one scale for all channels."""
    scale = float(np.abs(weight).max()) / 127
    values = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return values, np.full(weight.shape[axis], scale, np.float32)


def test_one_scale_for_all_channels_of_outlier_weights(
    greenhouse: Greenhouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tiankong.toolkit.models.loading import load_model

    loaded = load_model("builtin-small")
    with_outliers(loaded.network)
    encoder = TextEncoder(loaded.tokenizer)
    texts = read_gold().texts()[1::9]
    batches = [encoder.batch([encoder.encode(text)]) for text in texts]
    origin = graphs.Origin(loaded.config, encoder.mask_id, batches)
    (recipe,) = read_recipes(["onnx-int8"])
    graphs.export(loaded.network, tmp_path / "export.onnx")
    graphs.make(tmp_path / "export.onnx", tmp_path / "fuse.onnx", ["fuse"], origin)

    def eight_bits(folder: Path) -> None:
        steps = recipe.steps[2:]
        static = steps.index("int8-static")
        graphs.make(tmp_path / "fuse.onnx", tmp_path / "exact.onnx", steps[:static], origin)
        graphs.make(tmp_path / "exact.onnx", tmp_path / "8.onnx", ["int8-static"], origin)
        graphs.make(tmp_path / "8.onnx", folder / recipe.file, steps[static + 1 :], origin)

    honest = greenhouse.check("onnx-int8", eight_bits)
    assert honest.passed, honest.reasons
    shutil.rmtree(tmp_path / "onnx-int8")
    monkeypatch.setattr(quantization, "rounded", one_scale)
    rejected(greenhouse.check("onnx-int8", eight_bits))


# --- the reference itself ------------------------------------------------------------------------


def test_a_damaged_reference_is_not_what_all_else_is_held_to(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    folder = tmp_path / "pytorch-fp32"
    shutil.copytree(small_variants["pytorch-fp32"].folder, folder)
    spoil_weights(zeroed(2, "attention.self.query"))(folder)
    manifest = replace(read_manifest(folder), files=record_files(folder))
    write_manifest(folder, manifest)
    gold = read_gold()
    few = GoldSet(gold.name, "few", gold.items[:2])
    gated = gate(Store("builtin-small"), [Built(folder, manifest, skipped=False)], few)
    assert not gated.passed
    assert gated.publication is not None
    assert not gated.publication.same
    assert "not what builtin answers" in gated.checks[0].reasons[0]
    assert gated.publication.differences[0].token in gated.checks[0].reasons[0]
