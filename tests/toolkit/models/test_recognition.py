"""Checkpoints as they lie on the hub: the tensors decide, and what is odd is said in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from checkpoint_folders import (
    WEIGHTS,
    built,
    edit_config,
    edit_weights,
    refused,
    remarks,
    renamed,
    same,
)
from family_models import KINDS

from tiankong.toolkit.models.families import FAMILIES
from tiankong.toolkit.models.loading import load_model, read_config

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]
    Change = Callable[[Tensors], Tensors]

# --- config.json says something else ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": None}, "config.json names no model_type, the tensors are "),
        ({"model_type": None, "architectures": None}, "config.json names no model_type"),
        ({"model_type": "roberta"}, "config.json says model_type 'roberta', the tensors are "),
        (
            {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]},
            "config.json says model_type 'roberta'",
        ),
        ({"model_type": "xlm-roberta"}, "config.json says model_type 'xlm-roberta'"),
        ({"model_type": "gpt2"}, "config.json says model_type 'gpt2'"),
        ({"architectures": ["SomeModel"]}, "config.json says SomeModel, and the head"),
    ],
)
def test_the_tensors_decide(
    saved: dict[str, Path],
    copy: Callable[[str], Path],
    kind: str,
    changes: dict[str, Any],
    words: str,
) -> None:
    folder = copy(kind)
    edit_config(folder, **changes)
    assert words in remarks(folder)
    assert read_config(folder)["model_type"] == kind
    assert same(folder, saved[kind])


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": None, "architectures": None},
        {"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]},
        {"architectures": ["BertForSequenceClassification"]},
    ],
)
def test_what_is_odd_is_said_kept_and_compared(
    copy: Callable[[str], Path], changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy("bert")
    edit_config(folder, **changes)
    notes = built(folder)
    assert notes["reference"] == "answers as plain transformers does (BertForMaskedLM)"
    assert f"{folder}: {notes['checkpoint']}" in capsys.readouterr().err.splitlines()


def test_the_model_type_of_another_family(
    saved: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    folder = copy("bert")
    edit_config(folder, model_type="electra")
    assert "says model_type 'electra', the tensors are a BERT's" in remarks(folder)
    assert same(folder, saved["bert"])


def test_a_padding_id_that_is_not_the_tokenizers(
    saved: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    folder = copy("bert")
    for said in (1, 10**6):
        edit_config(folder, pad_token_id=said)
        loaded = load_model(str(folder))
        assert loaded.remarks == (f"pad_token_id is {said}, [PAD] is 0: the tokenizer's counts",)
        assert loaded.config["pad_token_id"] == 0
        assert same(folder, saved["bert"])
    assert "answers as plain transformers" in built(folder)["reference"]


@pytest.mark.parametrize(
    "changes",
    [
        {"return_dict": False, "torchscript": True},
        {"output_hidden_states": True, "output_attentions": True},
        {"_attn_implementation": "flash_attention_2", "attn_implementation": "flash_attention_2"},
    ],
)
def test_how_transformers_is_to_run_a_model_is_no_part_of_it(
    saved: dict[str, Path], copy: Callable[[str], Path], changes: dict[str, Any]
) -> None:
    folder = copy("bert")
    edit_config(folder, **changes)
    assert same(folder, saved["bert"])
    assert "answers as plain transformers" in built(folder)["reference"]


def test_a_value_that_no_layer_can_be_made_of(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_config(folder, hidden_dropout_prob=2.0)
    assert "does not describe a BERT: dropout probability" in refused(folder)


# --- names of tensors ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda n: f"module.{n}", "names of tensors carry module."),
        (lambda n: f"_orig_mod.module.{n}", "carry _orig_mod., module."),
        (lambda n: f"model.{n}", "carry model."),
        (lambda n: f"module.{n}" if "embeddings" in n else n, "carry module."),
        (lambda n: n.replace(".attention.", "._orig_mod.attention."), "carry _orig_mod."),
        (lambda n: f"student.net.{n}", "carry net., student."),
        (lambda n: f"bert.{n}", "carry bert."),
    ],
)
def test_what_training_put_before_names(
    saved: dict[str, Path],
    copy: Callable[[str], Path],
    kind: str,
    change: Callable[[str], str],
    words: str,
) -> None:
    folder = copy(kind)
    edit_weights(folder, renamed(change))
    edit_config(folder, model_type=None)
    assert words in remarks(folder)
    assert same(folder, saved[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_without_the_models_name(
    saved: dict[str, Path], copy: Callable[[str], Path], kind: str
) -> None:
    folder, base = copy(kind), FAMILIES[kind].base
    edit_weights(folder, renamed(lambda name: name.removeprefix(base)))
    assert f"names of the encoder lack {base}" in remarks(folder)
    assert same(folder, saved[kind])


def test_names_that_transformers_does_not_find_are_said(
    copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy("bert")
    edit_weights(folder, renamed(lambda name: f"module.{name}"))
    note = built(folder)["reference"]
    assert note.startswith("not compared with plain transformers (BertForMaskedLM): it does not")
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("build:")]
    assert len(said) == 2
    assert said[1] == f"{folder}: {note}"


def test_two_models_in_one_file(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_weights(folder, lambda t: {**t, **{f"teacher.{n}": 2 * v for n, v in t.items()}})
    assert "has two tensors for " in refused(folder)
    assert "name a file with one model" in refused(folder)


def test_the_same_tensor_twice(saved: dict[str, Path], copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_weights(folder, lambda t: {**t, **{f"module.{n}": v for n, v in t.items()}})
    assert same(folder, saved["bert"])


def test_one_tensor_in_two_files(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    parts = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in parts:
        shutil.copy(folder / WEIGHTS, folder / name)
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {"a": parts[0], "b": parts[1]}}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    assert "is in model-00001-of-00002.safetensors and in " in refused(folder)


# --- other heads ---


def heads(*names: str) -> Change:
    import torch

    return lambda tensors: {**tensors, **{name: torch.ones(3, 4) for name in names}}


@pytest.mark.parametrize("kind", KINDS)
def test_other_heads_beside_a_whole_one(
    saved: dict[str, Path], copy: Callable[[str], Path], kind: str
) -> None:
    folder = copy(kind)
    names = ("classifier.weight", "classifier.bias", "crf.transitions", "qa_outputs.weight")
    edit_weights(folder, heads(*names))
    line = "left out, as no part of the head that fills blanks: classifier.bias, classifier.weight"
    assert line in remarks(folder)
    assert "and 1 more" in remarks(folder)
    assert same(folder, saved[kind])
    assert "answers as plain transformers" in built(folder)["reference"]


def test_other_heads_of_a_wrapped_model(
    saved: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    folder = copy("bert")
    edit_weights(folder, heads("classifier.weight"))
    edit_weights(folder, renamed(lambda name: f"bert.{name}"))
    assert "blanks: bert.classifier.weight" in remarks(folder)
    assert same(folder, saved["bert"])


def test_whole_numbers_beside_the_model(
    saved: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    import torch

    folder = copy("bert")
    edit_weights(folder, lambda t: {**t, "ner.step": torch.tensor(3)})
    assert "ner.step" in remarks(folder)
    assert same(folder, saved["bert"])


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.0.attention.self.query.lora_A.default.weight",
        "bert.encoder.ln.weight",
        "bert.encoder.layer.0.adapter.down.weight",
        "bert.embeddings.entity_embeddings.weight",
        "cls.predictions.extra.weight",
    ],
)
def test_what_would_change_the_answer_is_refused(copy: Callable[[str], Path], name: str) -> None:
    for prefix in ("", "module."):
        folder = copy("bert")
        edit_weights(folder, renamed(lambda known, prefix=prefix: f"{prefix}{known}"))  # type: ignore[misc]
        edit_weights(folder, heads(f"{prefix}{name}"))
        assert f"has no place for: {prefix}{name}" in refused(folder)
        shutil.rmtree(folder)


def test_the_heads_of_two_families(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_weights(folder, heads("vocab_transform.weight"))
    assert "vocab_transform.weight" in remarks(folder)
    edit_config(folder, model_type=None)
    assert "has the heads of a BERT and of a DistilBERT" in refused(folder)


# --- models of other kinds ---


def test_a_roberta_is_refused_whatever_it_says(copy: Callable[[str], Path]) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import RobertaConfig, RobertaForMaskedLM

    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=60, intermediate_size=64, **sizes)
    network = RobertaForMaskedLM(config)
    folder = copy("bert")
    tensors = {n: p.detach().clone() for n, p in network.named_parameters()}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    for kind in ("roberta", "xlm-roberta", "camembert", "bert", None):
        edit_config(folder, model_type=kind, architectures=["XLMRobertaForMaskedLM"])
        line = refused(folder)
        assert "is a RoBERTa (its tensors are named roberta. and lm_head.)" in line
        assert "name a BERT (a Chinese RoBERTa-wwm is one), DistilBERT, ALBERT or ELECTRA" in line


def test_a_decoder_of_text_is_refused(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_weights(folder, renamed(lambda name: name.replace("bert.", "h.").replace("cls.", "wte.")))
    edit_config(folder, model_type="gpt2", architectures=["GPT2LMHeadModel"])
    assert "says model_type 'gpt2', and its tensors (" in refused(folder)


def test_names_of_tensorflow_are_named(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_weights(folder, renamed(lambda n: n.replace(".", "/").replace("weight", "kernel") + ":0"))
    assert "has tensors named as TensorFlow or Flax name them" in refused(folder)


def test_a_big_bird_has_berts_names_and_is_none(copy: Callable[[str], Path]) -> None:
    folder = copy("bert")
    edit_config(folder, model_type="big_bird", architectures=["BigBirdForMaskedLM"])
    assert "is a BigBird: name a BERT" in refused(folder)


def test_a_model_without_a_head_says_what_to_name(copy: Callable[[str], Path]) -> None:
    folder = copy("electra")
    edit_weights(folder, renamed(lambda name: name.replace("generator_", "discriminator_")))
    edit_config(folder, architectures=["ElectraForPreTraining"])
    line = refused(folder)
    assert "has no head to fill blanks with (generator_predictions.dense.weight is missing)" in line
    assert "name a model saved as ElectraForMaskedLM" in line
