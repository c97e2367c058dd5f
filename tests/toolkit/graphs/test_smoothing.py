"""Channels of a float graph change, and the graph computes the same; outliers no longer ruin it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from family_models import KINDS, random_network

from tiankong.toolkit.engines.onnx_engine import OnnxEngine
from tiankong.toolkit.engines.predictor import Logits
from tiankong.toolkit.engines.text import Batch
from tiankong.toolkit.engines.unpadding import unpadded
from tiankong.toolkit.graphs import steps as graphs
from tiankong.toolkit.graphs.budget import divergence, measured
from tiankong.toolkit.graphs.eight_bits import FACTS, activations, read_facts, to_int8_static
from tiankong.toolkit.graphs.observation import observe
from tiankong.toolkit.graphs.quantization import prepare, quantize

MASK_ID = 4
STEPS = ("head-at-mask", "last-layer-at-mask", "plain-norms", "plain-gelu", "top-k")
CHANNEL = 9


def batches(first: int, count: int) -> list[Batch]:
    """Return sentences of 20 tokens, two masks each."""
    made = []
    for seed in range(first, first + count):
        ids = np.random.default_rng(seed).integers(5, 300, (4, 20))
        rows, columns = np.repeat(np.arange(4), 2), np.tile([3, 12], 4)
        ids[rows, columns] = MASK_ID
        made.append(Batch(ids, np.ones_like(ids), np.zeros_like(ids), rows, columns))
    return made


def exported(network: Any, folder: Path, steps: tuple[str, ...]) -> Path:
    origin = graphs.Origin(network.config.to_dict(), MASK_ID, ())
    graphs.export(network, folder / "plain.onnx")
    graphs.make(folder / "plain.onnx", folder / "fused.onnx", ["fuse"], origin)
    if not steps:
        return folder / "fused.onnx"
    graphs.make(folder / "fused.onnx", folder / "exact.onnx", steps, origin)
    return folder / "exact.onnx"


def logits(path: Path, batch: Batch) -> Logits:
    return OnnxEngine(path, 1).logits(batch)


def enlarged(kind: str, factor: float) -> Any:
    """Return a network with one channel of every normalization enlarged."""
    import torch

    network = random_network(kind)
    with torch.no_grad():
        for name, module in network.named_modules():
            if name.lower().endswith(("layernorm", "layer_norm")):
                module.weight[CHANNEL] *= factor
                module.bias[CHANNEL] += factor / 4
    return network


@pytest.mark.parametrize("steps", [(), STEPS])
@pytest.mark.parametrize("factor", [1, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_computes_the_same(
    kind: str, factor: float, steps: tuple[str, ...], tmp_path: Path
) -> None:
    path = exported(enlarged(kind, factor), tmp_path, steps)
    model = onnx.load(str(path))
    before = Counter(node.op_type for node in model.graph.node)
    scheme = prepare(model, observe(path, activations(path), batches(1, 6)))
    onnx.save(model, str(tmp_path / "smooth.onnx"))
    (asked,) = batches(99, 1)
    plain = logits(path, asked)
    far = np.abs(logits(tmp_path / "smooth.onnx", asked) - plain).max()
    assert far < 1e-4 * np.abs(plain).max()
    after = Counter(node.op_type for node in model.graph.node)
    assert after["Mul"] == before["Mul"] + scheme.multiplied
    if factor == 1:
        assert scheme.multiplied == 0


def test_outliers_are_divided_and_cost_a_multiplication_each(tmp_path: Path) -> None:
    path = exported(enlarged("bert", 40), tmp_path, STEPS)
    to_int8_static(path, tmp_path / "eight.onnx", batches(1, 6))
    facts = read_facts(tmp_path / "eight.onnx")
    assert facts is not None
    assert facts["multiplications_added"] > 0
    assert "float32" not in facts  # nobody asked for it
    (asked,) = batches(99, 1)
    assert divergence(logits(tmp_path / "eight.onnx", asked), logits(path, asked)) < 0.02


def test_a_budget_keeps_what_does_most_damage(tmp_path: Path) -> None:
    path = exported(random_network("bert"), tmp_path, STEPS)
    asked = batches(1, 6)
    to_int8_static(path, tmp_path / "free.onnx", asked)
    free = read_facts(tmp_path / "free.onnx")
    assert free is not None
    budget = free["divergence"] / 2
    to_int8_static(path, tmp_path / "half.onnx", asked, budget)
    half = read_facts(tmp_path / "half.onnx")
    assert half is not None
    assert half["within_budget"]
    assert half["divergence"] <= budget
    assert half["all_in_8_bits"] == free["divergence"]
    assert 0 < sum(half["float32"].values()) < 1
    counts = graphs.operators(tmp_path / "half.onnx")
    floating = counts["MatMul"] + counts["Attention"]
    assert floating == len(half["float32"])
    to_int8_static(path, tmp_path / "wide.onnx", asked, 1.0)
    wide = read_facts(tmp_path / "wide.onnx")
    assert wide is not None
    assert "float32" not in wide
    assert graphs.operators(tmp_path / "wide.onnx")["MatMul"] == 0
    pairs = [
        (logits(tmp_path / "half.onnx", batch), logits(path, batch)) for batch in measured(asked)
    ]
    found = np.mean([divergence(ours, theirs) for ours, theirs in pairs])
    assert found == pytest.approx(half["divergence"], rel=0.05)


def test_facts_are_in_the_file_and_only_there(tmp_path: Path) -> None:
    path = exported(random_network("bert"), tmp_path, STEPS)
    assert read_facts(path) is None
    to_int8_static(path, tmp_path / "eight.onnx", batches(1, 2))
    (entry,) = onnx.load(str(tmp_path / "eight.onnx")).metadata_props
    assert entry.key == FACTS


@pytest.mark.parametrize("width", [128, 768])
@pytest.mark.parametrize("place", [0, 1])
def test_products_in_float32_need_no_padding_either(place: int, width: int, tmp_path: Path) -> None:
    path = exported(
        random_network(
            "bert", hidden_size=width, num_attention_heads=width // 64, intermediate_size=4 * width
        ),
        tmp_path,
        STEPS,
    )
    model = onnx.load(str(path))
    scheme = prepare(model, observe(path, activations(path), batches(1, 4)))
    attentions = [node.input[1] for node in model.graph.node if node.op_type == "Attention"]
    products = [
        node.input[1]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in scheme.weights
    ]
    quantize(model, scheme, kept=[attentions[place], products[place]])
    onnx.save(model, str(tmp_path / "eight.onnx"))
    rewritten = unpadded((tmp_path / "eight.onnx").read_bytes())
    assert rewritten is not None
    (tmp_path / "unpadded.onnx").write_bytes(rewritten)
    (asked,) = batches(99, 1)
    asked.attention_mask[1, 13:] = 0
    asked.attention_mask[2, 17:] = 0
    padded = logits(tmp_path / "eight.onnx", asked)
    assert np.array_equal(logits(tmp_path / "unpadded.onnx", asked), padded)
