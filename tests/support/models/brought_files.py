"""ONNX files as other exporters write them, and the variants made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tiankong.toolkit.building.brought import bring
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.predictor import Predictor

TEXTS = ["床前明月光,疑是地[MASK]霜。", "[MASK]", "今天[MASK]气真[MASK]啊。"]
Change = Callable[[onnx.ModelProto], None]


def changed(source: Path, target: Path, change: Change) -> Path:
    model = onnx.load(str(source))
    change(model)
    onnx.save(model, str(target))
    return target


def opened(onnx_file: Path, words: Path) -> Predictor:
    return open_variant(bring(Offer(onnx_file, words)).folder)


def assert_same(actual: list[Any], expected: list[Any], close: float = 1e-5) -> None:
    for ours, theirs in zip(actual, expected, strict=True):
        for mine, yours in zip(ours, theirs, strict=True):
            assert [entry.token for entry in mine] == [entry.token for entry in yours]
            scores = [[entry.score for entry in ranking] for ranking in (mine, yours)]
            assert np.allclose(*scores, atol=close)


def value_of(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    values = [*model.graph.input, *model.graph.output]
    return next(value for value in values if value.name == name)


def computed(model: onnx.ModelProto, name: str, number: int) -> None:
    """Replace an input by a constant: the same number for every token."""
    model.graph.input.remove(value_of(model, name))
    value = helper.make_tensor("number", TensorProto.INT64, [1], [number])
    model.graph.node.insert(0, helper.make_node("Shape", ["input_ids"], ["ids_shape"]))
    node = helper.make_node("ConstantOfShape", ["ids_shape"], [name], value=value)
    model.graph.node.insert(1, node)


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["output_0"]))
    value_of(model, "logits").name = "output_0"


def more_outputs(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Shape", ["input_ids"], ["aside"]))
    aside = helper.make_tensor_value_info("aside", TensorProto.INT64, [2])
    logits = value_of(model, "logits")
    model.graph.output.remove(logits)
    model.graph.output.extend([aside, logits])
