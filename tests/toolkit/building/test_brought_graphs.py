"""ONNX files of all sorts answer alike once they are variants."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from brought_files import (
    TEXTS,
    Change,
    assert_same,
    changed,
    computed,
    more_outputs,
    opened,
    renamed_output,
    value_of,
)
from onnx import TensorProto, helper

from tiankong.toolkit.building.brought import bring
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.builtin import vocabulary

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


def without_token_types(model: onnx.ModelProto) -> None:
    """As DistilBERT's: only zeros were ever meant."""
    computed(model, "token_type_ids", 0)


def with_inputs_of(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for place, value in enumerate(model.graph.input):
            name, value.name = value.name, f"{value.name}_given"
            for node in model.graph.node:
                node.input[:] = [name if n == name else n for n in node.input]
            value.name = name
            value.type.tensor_type.elem_type = kind
            inner = f"{name}_int64"
            for node in model.graph.node:
                node.input[:] = [inner if n == name else n for n in node.input]
            cast = helper.make_node("Cast", [name], [inner], to=TensorProto.INT64)
            model.graph.node.insert(place, cast)

    return change


def half_output(model: onnx.ModelProto) -> None:
    """Float16 logits, as a file converted as a whole gives."""
    cast = helper.make_node("Cast", ["logits"], ["half"], to=TensorProto.FLOAT16)
    model.graph.node.append(cast)
    value = value_of(model, "logits")
    value.name = "half"
    value.type.tensor_type.elem_type = TensorProto.FLOAT16


def fixed(sentences: int, tokens: int | None) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for value in model.graph.input:
            axes = value.type.tensor_type.shape.dim
            axes[0].dim_value = sentences
            if tokens:
                axes[1].dim_value = tokens

    return change


def newer_opset(model: onnx.ModelProto) -> None:
    model.CopyFrom(onnx.version_converter.convert_version(model, 21))


GRAPHS: dict[str, Change] = {
    "no token types": without_token_types,
    "int32": with_inputs_of(TensorProto.INT32),
    "float": with_inputs_of(TensorProto.FLOAT),
    "output of another name": renamed_output,
    "float16 logits": half_output,
    "one sentence": fixed(1, None),
    "two sentences of 40 tokens": fixed(2, 40),
    "more outputs": more_outputs,
    "opset 21": newer_opset,
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs_of_all_sorts_answer_alike(
    kind: str, source: Path, words: Path, expected: list[Any]
) -> None:
    predictor = opened(changed(source, words.parent / "other.onnx", GRAPHS[kind]), words)
    assert predictor.name == "own-other"
    assert_same(predictor.predict(TEXTS), expected, 1e-3 if "16" in kind else 1e-5)
    assert predictor.encoder.max_tokens == (40 if "40" in kind else 512)


def test_weights_beside_the_file_come_along(source: Path, words: Path, expected: list[Any]) -> None:
    target = words.parent / "apart" / "model.onnx"
    (target.parent / "weights").mkdir(parents=True)
    onnx.save(onnx.load(str(source)), str(target), save_as_external_data=True,
              location="weights/all.bin")  # fmt: skip
    built = bring(Offer(target, words))
    shutil.rmtree(target.parent)
    assert {"onnx/model.onnx", "onnx/weights/all.bin"} < set(built.manifest.files)
    assert built.manifest.model_file_size > source.stat().st_size * 0.95
    assert_same(open_variant(built.folder).predict(TEXTS), expected)


def test_a_snapshot_of_the_hubs_cache_is_links(
    source: Path, words: Path, expected: list[Any]
) -> None:
    repository = words.parent / "models--somebody--bert"
    snapshot = repository / "snapshots" / ("0" * 40) / "onnx"
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    onnx.save(onnx.load(str(source)), str(snapshot / "model.onnx"), save_as_external_data=True,
              location="model.onnx_data")  # fmt: skip
    for number, file in enumerate(sorted(snapshot.iterdir())):
        blob = repository / "blobs" / f"{number}"
        file.replace(blob)
        file.symlink_to(Path("../../../blobs") / blob.name)
    assert_same(opened(snapshot / "model.onnx", words).predict(TEXTS), expected)


def test_vocab_txt_and_a_config_beside_the_file_will_do(
    small_variants: dict[str, Built], source: Path, own: Path, expected: list[Any]
) -> None:
    words = own / "words"
    words.mkdir()
    (words / "vocab.txt").write_text("\n".join(vocabulary.tokens()) + "\n", encoding="utf-8")
    with pytest.raises(UnusableInputError, match="nothing says how long"):
        bring(Offer(nameless(source, own / "model.onnx"), words))
    shutil.copy(small_variants["onnx-fp32"].folder / "config.json", own)
    predictor = opened(own / "model.onnx", words)
    assert_same(predictor.predict(TEXTS), expected)


def nameless(source: Path, target: Path) -> Path:
    """Rename the weights, as exporters that fold constants do."""

    def change(model: onnx.ModelProto) -> None:
        names = {t.name: f"onnx::{i}" for i, t in enumerate(model.graph.initializer)}
        for tensor in model.graph.initializer:
            tensor.name = names[tensor.name]
        for node in model.graph.node:
            node.input[:] = [names.get(name, name) for name in node.input]

    return changed(source, target, change)


def test_the_longest_sentence_can_be_told_from_the_graph(source: Path, words: Path) -> None:
    (words / "tokenizer_config.json").unlink()
    assert opened(Path(shutil.copy(source, words.parent)), words).encoder.max_tokens == 512


def test_our_own_variants_can_be_brought(small_variants: dict[str, Built], words: Path) -> None:
    int8 = small_variants["onnx-int8"]
    predictor = opened(int8.folder / int8.manifest.recipe.file, words)
    assert_same(predictor.predict(TEXTS), open_variant(int8.folder).predict(TEXTS))
