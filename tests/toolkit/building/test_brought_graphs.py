"""ONNX files of all sorts answer alike once they are variants."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
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


def with_positions(model: onnx.ModelProto) -> None:
    """Take the positions as an input, as some exporters do."""
    (node,) = [n for n in model.graph.node if n.op_type == "Gather" and "position" in n.input[0]]
    node.input[1] = "position_ids"
    ids = value_of(model, "input_ids")
    value = onnx.ValueInfoProto.FromString(ids.SerializeToString())
    value.name = "position_ids"
    model.graph.input.append(value)


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
    "positions": with_positions,
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


def pretraining_outputs(model: onnx.ModelProto) -> None:
    """Two outputs, neither of them called logits, as a BertForPreTraining gives."""
    renamed_output(model)
    model.graph.node.append(
        helper.make_node("ReduceMax", ["logits"], ["nsp"], axes=[1, 2], keepdims=0)
    )
    model.graph.output.insert(0, helper.make_tensor_value_info("nsp", TensorProto.FLOAT, ["batch"]))


def test_an_option_says_which_output_has_the_scores(
    source: Path, words: Path, expected: list[Any]
) -> None:
    file = changed(source, words.parent / "two.onnx", pretraining_outputs)
    with pytest.raises(UnusableInputError, match=r"outputs nsp, output_0.* by --output"):
        bring(Offer(file, words))
    with pytest.raises(UnusableInputError, match=r"no output 'scores'.* nsp, output_0"):
        bring(Offer(file, words, output="scores"))
    with pytest.raises(UnusableInputError, match=r"'nsp' has .* axes, not 3"):
        bring(Offer(file, words, output="nsp"))
    built = bring(Offer(file, words, output="output_0"))
    assert built.manifest.notes["output"] == "output_0"
    kept = onnx.load(str(built.folder / built.manifest.recipe.file)).graph.output
    assert [value.name for value in kept] == ["output_0"]
    assert_same(open_variant(built.folder).predict(TEXTS), expected)
    assert_same(open_variant(built.folder, share=True).predict(TEXTS), expected)
    assert bring(Offer(file, words, output="output_0")).skipped


def test_positions_that_start_after_the_padding_are_refused(source: Path, words: Path) -> None:
    file = changed(source, words.parent / "roberta.onnx", with_positions)
    (words / "config.json").write_text('{"model_type": "xlm-roberta"}', encoding="utf-8")
    with pytest.raises(UnusableInputError, match="counts from pad_token_id"):
        bring(Offer(file, words))


def masked_by_minus_infinity(model: onnx.ModelProto) -> None:
    """Mask with minus infinity: a sentence of nothing but padding then has no finite score."""
    tensors = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in [*tensors, *model.graph.initializer]:
        if tensor.data_type == TensorProto.FLOAT and not tensor.dims:
            value = onnx.numpy_helper.to_array(tensor)
            if value < -1e38:
                tensor.CopyFrom(onnx.numpy_helper.from_array(value - np.inf, tensor.name))
    fixed(4, 40)(model)


def spoiled_by_neighbours(model: onnx.ModelProto) -> None:
    """Let one score that is no number spoil all, as scales of the whole batch do."""
    masked_by_minus_infinity(model)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])
    model.graph.initializer.append(zero)
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", ["logits"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["logits", "nothing"], ["scores"]),
        ]
    )
    value_of(model, "logits").name = "scores"


def test_a_fixed_batch_is_filled_with_sentences(
    source: Path, words: Path, expected: list[Any]
) -> None:
    file = changed(source, words.parent / "four.onnx", spoiled_by_neighbours)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    empty = {entry.name: np.zeros((4, 40), np.int64) for entry in session.get_inputs()}
    assert np.isnan(session.run(["scores"], empty)[0]).all()
    assert_same(opened(file, words).predict(TEXTS), expected)
