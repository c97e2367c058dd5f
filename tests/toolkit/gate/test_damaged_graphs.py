"""Damaged graphs, configurations and tokenizers are rejected."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from planted_damage import Greenhouse, rejected


def epsilon(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"layer_norm_eps": 0.1}), encoding="utf-8")


def spoil_graph(change: Callable[[onnx.GraphProto], int]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (path,) = folder.rglob("*.onnx")
        model = onnx.load(str(path))
        assert change(model.graph), "the plant found nothing"
        onnx.save(model, str(path))

    return spoil


def graph_epsilon(graph: onnx.GraphProto) -> int:
    attributes = [a for n in graph.node for a in n.attribute if a.name == "epsilon"]
    for attribute in attributes:
        attribute.f = 0.1
    return len(attributes)


def attribute_of(graph: onnx.GraphProto, operator: str, name: str, value: int) -> int:
    attributes = [
        a for n in graph.node if n.op_type == operator for a in n.attribute if a.name == name
    ]  # fmt: skip
    for attribute in attributes:
        attribute.i = value
    return len(attributes)


def instead_of_input(graph: onnx.GraphProto, name: str, operator: str) -> int:
    """Replace an input x of the graph by ones (x or 1) or by its opposite (1 - x)."""
    made = f"planted/{name}"
    users = [(n, i) for n in graph.node for i, given in enumerate(n.input) if given == name]
    for node, place in users:
        node.input[place] = made
    one = numpy_helper.from_array(np.array(1, np.int64), "planted/one")
    graph.initializer.append(one)
    inputs = {"Max": [name, one.name], "Sub": [one.name, name]}[operator]
    graph.node.insert(0, helper.make_node(operator, inputs, [made]))
    return len(users)


def mask_moved(graph: onnx.GraphProto) -> int:
    """Read the answer one position to the left of [MASK]."""
    positions = next((n for n in graph.node if "tiankong/positions" in n.output), None)
    if positions is not None:
        positions.output[0] = "planted/positions"
        shift = numpy_helper.from_array(np.array([[0, 1]], np.int64), "planted/shift")
        graph.initializer.append(shift)
        made = helper.make_node("Sub", ["planted/positions", shift.name], ["tiankong/positions"])
        graph.node.insert(list(graph.node).index(positions) + 1, made)
        return 1
    return _turned(graph, axis=1)


def batch_permuted(graph: onnx.GraphProto) -> int:
    """Move each answer to the next row of the batch."""
    if any(o.name == "top_ids" for o in graph.output):
        return _turned(graph, axis=0, outputs=("top_ids", "top_scores"))
    return _turned(graph, axis=0)


def _turned(graph: onnx.GraphProto, axis: int, outputs: tuple[str, ...] = ("logits",)) -> int:
    """Roll outputs by one along an axis."""
    for name in outputs:
        for node in graph.node:
            for place, given in enumerate(node.output):
                if given == name:
                    node.output[place] = f"planted/{name}"
        parts = []
        for part, (begin, end) in {"tail": (-1, 2**62), "head": (0, -1)}.items():
            ends = [
                numpy_helper.from_array(np.array([v], np.int64), f"planted/{name}/{part}/{k}")
                for k, v in {"begin": begin, "end": end, "axis": axis}.items()
            ]
            graph.initializer.extend(ends)
            parts.append(f"planted/{name}/{part}")
            given = [f"planted/{name}", *(e.name for e in ends)]
            graph.node.append(helper.make_node("Slice", given, [parts[-1]]))
        graph.node.append(helper.make_node("Concat", parts, [name], axis=axis))
    return len(outputs)


PLANTS: dict[str, tuple[str, Callable[[onnx.GraphProto], int]]] = {
    "epsilon-fp16": ("onnx-fp16", graph_epsilon),
    "epsilon-int8": ("onnx-int8", graph_epsilon),
    "attention-mask-ignored-fp32": (
        "onnx-fp32", lambda g: instead_of_input(g, "attention_mask", "Max")),
    "attention-mask-ignored-int8": (
        "onnx-int8", lambda g: instead_of_input(g, "attention_mask", "Max")),
    "token-types-wrong-fp16": ("onnx-fp16", lambda g: instead_of_input(g, "token_type_ids", "Sub")),
    "token-types-wrong-int8": ("onnx-int8", lambda g: instead_of_input(g, "token_type_ids", "Sub")),
    "mask-position-fp32": ("onnx-fp32", mask_moved),
    "mask-position-int8": ("onnx-int8", mask_moved),
    "softmax-axis-fp32": ("onnx-fp32", lambda g: attribute_of(g, "Softmax", "axis", -2)),
    "softmax-axis-int8": ("onnx-int8", lambda g: attribute_of(g, "Softmax", "axis", 0)),
    "top-k-of-the-worst": ("onnx-int8", lambda g: attribute_of(g, "TopK", "largest", 0)),
    "batch-permuted-fp32": ("onnx-fp32", batch_permuted),
    "batch-permuted-int8": ("onnx-int8", batch_permuted),
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTS)
def test_damaged_graphs(plant: str, greenhouse: Greenhouse) -> None:
    variant, change = PLANTS[plant]
    result = greenhouse.check(variant, spoil_graph(change))
    rejected(result)
    if "batch" in plant or "attention-mask" in plant:  # no damage is seen one by one
        assert result.agreement is not None
        assert result.agreement.top1 >= 0.97
        assert any("depend on the batch" in reason for reason in result.reasons)


def test_epsilon_in_the_configuration(greenhouse: Greenhouse) -> None:
    rejected(greenhouse.check("pytorch-fp32", epsilon))


# --- tokenizers ----------------------------------------------------------------------------------


def spoil_tokenizer(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "tokenizer.json"
        data = json.loads(path.read_text(encoding="utf-8"))
        change(data)
        path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")

    return spoil


def no_lower_case(data: dict[str, Any]) -> None:
    data["normalizer"]["lowercase"] = False
    data["normalizer"]["strip_accents"] = False


def no_chinese_characters_apart(data: dict[str, Any]) -> None:
    data["normalizer"]["handle_chinese_chars"] = False


def shifted_by_one(data: dict[str, Any]) -> None:
    ids = data["model"]["vocab"]
    plain = [token for token in ids if not token.startswith("[")]
    numbers = [ids[token] for token in plain]
    ids.update(zip(plain, [*numbers[1:], numbers[0]], strict=True))


def two_rare_tokens_swapped(data: dict[str, Any]) -> None:
    ids = data["model"]["vocab"]
    ids["鼹"], ids["鼢"] = ids["鼢"], ids["鼹"]


@pytest.mark.parametrize(
    "change", [no_lower_case, no_chinese_characters_apart, shifted_by_one, two_rare_tokens_swapped]
)
def test_damaged_tokenizers(
    change: Callable[[dict[str, Any]], None], greenhouse: Greenhouse
) -> None:
    result = greenhouse.check("onnx-int8", spoil_tokenizer(change))
    rejected(result)
    assert result.reasons[0].startswith("its tokenizer is not pytorch-fp32's")
