"""ONNX files of all sorts become variants, or one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiankong.toolkit.building.brought import bring, variant_name
from tiankong.toolkit.building.manifest import read_manifest, write_manifest
from tiankong.toolkit.building.offer import Offer, read_offer, read_promised_offer
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import Promise
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.predictor import Predictor
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.examination import ensure, gate
from tiankong.toolkit.gate.gold import HELDOUT, find_gold
from tiankong.toolkit.models.builtin import vocabulary

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

TEXTS = ["床前明月光,疑是地[MASK]霜。", "[MASK]", "今天[MASK]气真[MASK]啊。"]
Change = Callable[[onnx.ModelProto], None]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifacts folder of the test's own."""
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path


@pytest.fixture
def words(small_variants: dict[str, Built], own: Path) -> Path:
    """A folder with the tokenizer, as tokenizer.json."""
    folder = own / "words"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(small_variants["onnx-fp32"].folder / name, folder / name)
    return folder


@pytest.fixture
def source(small_variants: dict[str, Built]) -> Path:
    return small_variants["onnx-fp32"].folder / "onnx" / "model.onnx"


@pytest.fixture(scope="module")
def expected(small_variants: dict[str, Built]) -> list[Any]:
    return open_variant(small_variants["onnx-fp32"].folder).predict(TEXTS)


def changed(source: Path, target: Path, change: Change) -> Path:
    model = onnx.load(str(source))
    change(model)
    onnx.save(model, str(target))
    return target


def opened(onnx_file: Path, words: Path) -> Predictor:
    return open_variant(bring(Offer(onnx_file, words)).folder)


def assert_same(given: list[Any], expected: list[Any], close: float = 1e-5) -> None:
    for ours, theirs in zip(given, expected, strict=True):
        for mine, yours in zip(ours, theirs, strict=True):
            assert [entry.token for entry in mine] == [entry.token for entry in yours]
            scores = [[entry.score for entry in ranking] for ranking in (mine, yours)]
            assert np.allclose(*scores, atol=close)


# --- what graphs of other exporters look like ---------------------------------------------------


def value_of(model: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    values = [*model.graph.input, *model.graph.output]
    return next(value for value in values if value.name == name)


def without_token_types(model: onnx.ModelProto) -> None:
    """As DistilBERT's: only zeros were ever meant."""
    computed(model, "token_type_ids", 0)


def computed(model: onnx.ModelProto, name: str, number: int) -> None:
    """Compute an input instead: everywhere the same number."""
    model.graph.input.remove(value_of(model, name))
    value = helper.make_tensor("number", TensorProto.INT64, [1], [number])
    model.graph.node.insert(0, helper.make_node("Shape", ["input_ids"], ["ids_shape"]))
    node = helper.make_node("ConstantOfShape", ["ids_shape"], [name], value=value)
    model.graph.node.insert(1, node)


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


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["output_0"]))
    value_of(model, "logits").name = "output_0"


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


def more_outputs(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Shape", ["input_ids"], ["aside"]))
    aside = helper.make_tensor_value_info("aside", TensorProto.INT64, [2])
    logits = value_of(model, "logits")
    model.graph.output.remove(logits)
    model.graph.output.extend([aside, logits])


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


# --- what is refused ----------------------------------------------------------------------------


def narrow(model: onnx.ModelProto) -> None:
    few = numpy_helper.from_array(np.arange(5000), "few")
    model.graph.initializer.append(few)
    model.graph.node.append(helper.make_node("Gather", ["logits", "few"], ["less"], axis=2))
    value = value_of(model, "logits")
    value.name = "less"
    value.type.tensor_type.shape.dim[2].dim_value = 5000


def another_input(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        value = helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
        model.graph.input.append(value)

    return change


def without_attention_mask(model: onnx.ModelProto) -> None:
    computed(model, "attention_mask", 1)


def pooled(model: onnx.ModelProto) -> None:
    node = helper.make_node("ReduceMean", ["logits"], ["pooled"], axes=[1], keepdims=0)
    model.graph.node.append(node)
    model.graph.output.remove(value_of(model, "logits"))
    value = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", 7021])
    model.graph.output.append(value)


def two_nameless_outputs(model: onnx.ModelProto) -> None:
    more_outputs(model)
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["output_0"]))
    value_of(model, "logits").name = "output_0"


def short_table(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if "position_embeddings" in tensor.name:
            table = numpy_helper.to_array(tensor)[:100].copy()
            tensor.CopyFrom(numpy_helper.from_array(table, tensor.name))


REFUSED = {
    "no input 'attention_mask'": without_attention_mask,
    "unknown input 'pixel_values'": another_input("pixel_values"),
    "is a decoder": another_input("past_key_values.0.key"),
    "gives 5000 scores a token": narrow,
    "has 2 axes, not 3": pooled,
    "which one is 'logits'": two_nameless_outputs,
    "cannot be asked 512 tokens": short_table,
}


@pytest.mark.parametrize("message", REFUSED)
def test_graphs_that_cannot_fill_blanks_here(message: str, source: Path, words: Path) -> None:
    target = changed(source, words.parent / "bad.onnx", REFUSED[message])
    with pytest.raises(UnusableInputError, match=message) as caught:
        bring(Offer(target, words))
    assert "\n" not in str(caught.value)
    assert str(target) in str(caught.value)
    assert not list((words.parent / "artifacts").rglob("*.onnx"))


def test_a_decoder_is_found_out_by_what_it_sees(words: Path) -> None:
    import torch
    from transformers import BertConfig, BertLMHeadModel

    from tiankong.toolkit.graphs.steps import export

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=7021, intermediate_size=64, is_decoder=True, use_cache=False,
                        **sizes)  # fmt: skip
    network: Any = BertLMHeadModel(config).eval()
    target = words.parent / "gpt.onnx"
    export(network, target)
    with pytest.raises(UnusableInputError, match="does not look at the words after a blank"):
        bring(Offer(target, words))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no ONNX file"),
        (b"PK\x03\x04 a zip, as PyTorch saves", "is no ONNX file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (None, "is no file"),
    ],
)
def test_what_is_no_onnx_file(content: bytes | None, message: str, words: Path) -> None:
    path = words.parent / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableInputError, match=message):
        bring(Offer(path, words))


def test_another_tokenizer_is_refused(source: Path, words: Path) -> None:
    path = words / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] != "[MASK]"]
    data["model"]["vocab"]["[XXXX]"] = data["model"]["vocab"].pop("[MASK]")
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UnusableInputError, match=r"no \[MASK\]"):
        bring(Offer(source, words))
    with pytest.raises(UnusableInputError, match="is no folder"):
        bring(Offer(source, words / "tokenizer.json"))


# --- the variant it becomes ---------------------------------------------------------------------


def test_the_same_files_are_kept_others_take_their_place(source: Path, words: Path) -> None:
    target = words.parent / "model.onnx"
    shutil.copy(source, target)
    first = bring(Offer(target, words))
    assert (first.skipped, bring(Offer(target, words)).skipped) == (False, True)
    manifest = first.manifest
    assert (manifest.variant, manifest.recipe.steps) == ("own-model", ())
    assert manifest.model["name"] == "words"
    assert (manifest.notes["file"], len(manifest.notes["sha256"])) == ("model.onnx", 64)
    assert manifest.notes["sha256"][:12] in manifest.recipe.summary
    changed(source, target, renamed_output)
    second = bring(Offer(target, words))
    assert not second.skipped
    assert second.manifest.digest != first.manifest.digest


def test_a_promise_and_its_gate_last_until_another_is_asked_for(source: Path, words: Path) -> None:
    strict = Offer(source, words, promise=Promise(hit_at_5=0.6))
    first = bring(strict)
    write_manifest(first.folder, first.manifest.with_gate({"passed": True}))
    for kept in (strict, replace(strict, promise=None)):
        again = bring(kept)
        assert again.skipped
        assert again.manifest.recipe.promise.hit_at_5 == 0.6
        assert again.manifest.gate == {"passed": True}
    other = bring(Offer(source, words))
    assert other.skipped
    assert (other.manifest.recipe.promise, other.manifest.gate) == (Promise(), None)
    assert read_manifest(other.folder) == other.manifest


def test_without_a_model_only_gold_hits_are_judged(source: Path, words: Path) -> None:
    lines = [{"id": a, "category": "c", "text": TEXTS[0], "answer": a} for a in ("霜", "上")]
    path = words / "gold.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    gold = find_gold(str(path))
    store = Store("", offer=Offer(source, words))
    built = store.get()
    result = gate(store, built, gold).checks[0]
    assert (result.passed, result.judged, result.hits.hit_at_5) == (True, False, 0.5)
    assert result.agreement is None
    judged = gate(store, built, gold).as_json()
    json.dumps(judged, allow_nan=False)
    assert judged["model"] == "words"
    (again,) = ensure(store, [], gold)
    assert again.manifest.gate is not None
    strict = Store("", offer=Offer(source, words, promise=Promise(hit_at_5=0.6)))
    result = gate(strict, strict.get(), gold).checks[0]
    assert (result.passed, result.judged) == (False, True)
    assert "promised at least 60.0%" in result.reasons[0]


def test_with_a_model_it_is_held_to_its_reference(
    small_variants: dict[str, Built], source: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = small_variants["onnx-fp32"].folder.parents[2]
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(artifacts))
    path = words / "gold.jsonl"
    path.write_text("\n".join(HELDOUT.read_text(encoding="utf-8").splitlines()[:12]), "utf-8")
    gold = find_gold(str(path))

    def reject(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if "layer.1.intermediate.dense.bias" in tensor.name:
                values = numpy_helper.to_array(tensor) + 3
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    target = changed(source, words.parent / "spoilt.onnx", reject)
    for file, passes in ((source, True), (target, False)):
        offer = read_promised_offer(file, words, "builtin-small", "onnx-fp32", None)
        assert offer is not None
        store = Store("builtin-small", offer=offer)
        built = store.get()
        judged = gate(store, built, gold)
        result = judged.checks[0]
        assert (judged.model, result.passed) == ("builtin-small", passes)
        assert result.agreement is not None
        assert bool(result.agreement.flipped) != passes
        shutil.rmtree(built[0].folder)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    assert read_offer(None, None) is None
    assert read_promised_offer(None, None, "builtin", "", None) is None
    assert read_offer(tmp_path, tmp_path) == Offer(tmp_path, tmp_path, None)
    for given, message in (
        ((tmp_path, None, "", "", None), "go together"),
        ((None, tmp_path, "", "", None), "go together"),
        ((tmp_path, tmp_path, "", "onnx-int8", None), "--promise compares"),
        ((None, None, "builtin", "", 0.9), "go with --onnx"),
        ((tmp_path, tmp_path, "builtin", "onnx-none", None), "unknown variant"),
    ):
        with pytest.raises(UnusableInputError, match=message):
            read_promised_offer(*given)
    with pytest.raises(UnusableInputError, match="--variants beside"):
        Store("", offer=Offer(tmp_path, tmp_path)).get(["onnx-int8"])


def test_names() -> None:
    assert variant_name(Path("/a/Model_INT8.quant.onnx")) == "own-model-int8-quant"
    assert variant_name(Path("模型.onnx")) == "own-model"
    assert len(variant_name(Path("x" * 99))) == 41
