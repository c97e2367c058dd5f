"""Without padding, answers are the same to the last bit."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.onnx_engine import PREPARED, UNPADDED, OnnxEngine
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.engines.unpadding import unpadded

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

CHARACTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"
LENGTHS = {
    "one sentence": [17],
    "nothing but a mask": [1],
    "one much longer": [1, 500, 2],
    "longest first": [60, 33, 12, 1],
    "longest last": [1, 12, 33, 60],
    "equal": [15] * 6,
    "sixteen": [*range(3, 19)],
}


def sentence(length: int) -> str:
    """Return a sentence of so many characters, every ninth of which is a [MASK]."""
    text = (CHARACTERS * (length // len(CHARACTERS) + 1))[:length]
    asked = range(0, length, 9) if length < 60 else [length // 2]
    return "".join("[MASK]" if n in asked else c for n, c in enumerate(text))


def batch_of(encoder: TextEncoder, lengths: list[int]) -> Batch:
    return encoder.batch([encoder.encode(sentence(length)) for length in lengths])


@pytest.fixture(scope="module")
def kept(small_variants: dict[str, Built]) -> Path:
    """The folder of the prepared form of onnx-int8."""
    folder = open_variant(small_variants["onnx-int8"].folder, share=True).engine.about.kept
    assert folder
    return folder


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("name", ["onnx-int8", "onnx-int8-small"])
def test_the_answers_are_the_same_to_the_last_bit(
    small_variants: dict[str, Built], name: str, lengths: list[int]
) -> None:
    built = small_variants[name]
    folder = open_variant(built.folder, share=True).engine.about.kept
    assert folder
    encoder = TextEncoder.from_folder(built.folder)
    batch = batch_of(encoder, lengths)
    plain = OnnxEngine(built.folder / built.manifest.recipe.file, 1)
    engine = OnnxEngine(folder / UNPADDED, 1)
    expected = plain.logits(batch)
    assert np.array_equal(engine.logits(batch), expected)
    for actual, wanted in zip(engine.best(batch, 5), plain.best(batch, 5), strict=True):
        assert np.array_equal(actual, wanted)
    alone = [engine.logits(batch_of(encoder, [length])) for length in lengths]
    assert np.array_equal(np.concatenate(alone), expected)


def test_padding_is_not_computed(
    small_variants: dict[str, Built], kept: Path, tmp_path: Path
) -> None:
    """The shapes of the products' outputs show it."""
    path = Path(shutil.copytree(kept, tmp_path / "kept")) / UNPADDED
    model = onnx.load(str(path), load_external_data=False)
    products = [n.output[0] for n in model.graph.node if n.op_type == "MatMulIntegerToFloat"]
    for name in products:
        if name not in {value.name for value in model.graph.output}:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    onnx.save(model, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    encoder = TextEncoder.from_folder(small_variants["onnx-int8"].folder)
    batch = batch_of(encoder, [40, 3, 9])
    feed = {entry.name: getattr(batch, entry.name) for entry in session.get_inputs()}
    rows = {array.shape[0] for array in session.run(products, feed)}
    tokens, masks = int(batch.attention_mask.sum()), len(batch.rows)
    assert tokens < batch.input_ids.size
    assert rows == {tokens, masks}


def test_other_graphs_are_left_alone(small_variants: dict[str, Built]) -> None:
    for name in ("onnx-fp32", "onnx-fp16"):
        built = small_variants[name]
        assert unpadded((built.folder / built.manifest.recipe.file).read_bytes()) is None
        assert not open_variant(built.folder, share=True).engine.about.unpads


def test_a_call_alone_gets_the_graph_without_detours(
    small_variants: dict[str, Built], kept: Path
) -> None:
    """The others' attention is products, with one Gather each for query, key, value and result."""
    padded, shared = (
        Counter(n.op_type for n in onnx.load(str(kept / name), load_external_data=False).graph.node)
        for name in (PREPARED, UNPADDED)
    )
    layers = padded["QAttention"]
    assert layers > 0
    assert (shared["QAttention"], shared["FusedMatMul"]) == (0, layers)
    assert shared["MultiHeadAttention"] == 1  # the last layer's, at the masks
    assert open_variant(small_variants["onnx-int8"].folder, share=True).engine.about.unpads
