"""Files and tokenizers that cannot fill blanks are refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from brought_files import (
    Change,
    changed,
    computed,
    more_outputs,
    value_of,
)
from onnx import TensorProto, helper, numpy_helper

from tiankong.toolkit.building.brought import bring
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    pass


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
    "name the one with the scores": two_nameless_outputs,
    "cannot run a sentence of 512 tokens": short_table,
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
