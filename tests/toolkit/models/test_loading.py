"""Loading from good and bad folders, the built-in models, the list of models."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hub_endpoint import save_tiny_model

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import sha256
from tiankong.toolkit.models import loading as models
from tiankong.toolkit.models.auto_tokenizer import read_tokenizer
from tiankong.toolkit.models.builtin import catalogue, vocabulary

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]
WEIGHTS = "model.safetensors"
HEAD = "cls.predictions."
WORDS = "bert.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder, to be copied before it is changed."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "tiny-bert"))


def edit_config(folder: Path, name: str = "config.json", **changes: Any) -> None:
    """Change keys of a JSON file (None deletes)."""
    data = {**json.loads((folder / name).read_text()), **changes}
    kept = {key: value for key, value in data.items() if value is not None}
    (folder / name).write_text(json.dumps(kept))


def edit_weights(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    """Save the weights changed."""
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / WEIGHTS))
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS)


def logits(folder: Path) -> torch.Tensor:
    """Return the model's answer to one sentence."""
    import torch

    loaded = models.load_model(str(folder))
    ids = torch.tensor([loaded.tokenizer.encode("床前明[MASK]光").ids])
    with torch.no_grad():
        answer: torch.Tensor = loaded.network(input_ids=ids).logits
    return answer


def refused(name: Path | str, revision: str | None = None) -> str:
    """Return the one-line error for a model that is refused."""
    with pytest.raises(UnusableInputError) as caught:
        models.load_model(str(name), revision)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line


# --- what loads ---


def test_a_folder_loads_as_transformers_loads_it(folder: Path) -> None:
    import torch
    from transformers import BertForMaskedLM

    loaded = models.load_model(str(folder))
    theirs = BertForMaskedLM.from_pretrained(folder, attn_implementation="eager")
    theirs.train(False)
    ids = torch.tensor([loaded.tokenizer.encode("床前[MASK]月光").ids])
    with torch.no_grad():
        assert torch.equal(loaded.network(ids).logits, theirs(ids).logits)
    assert not loaded.network.training
    assert loaded.network.config._attn_implementation == "eager"
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    assert loaded.config == json.loads((folder / "config.json").read_text())


def test_what_is_said_of_a_folder(folder: Path) -> None:
    info = models.load_model(str(folder)).info
    assert (info.name, info.title, info.source) == (str(folder), "tiny-bert", "folder")
    assert info.revision == sha256(folder / WEIGHTS)
    assert (info.layers, info.hidden, info.heads, info.intermediate) == (1, 16, 2, 32)
    assert (info.vocabulary, info.positions, info.caveat) == (21, 32, "")
    assert json.loads(json.dumps(info.as_json()))["parameters"] == info.parameters


def test_parameters_follow_from_the_geometry(folder: Path) -> None:
    config = models.read_config(folder)
    listed = models._info(config, "x", "hub", "")
    assert listed.parameters == models.load_model(str(folder)).info.parameters
    assert catalogue.GROWN.parameters == 102_290_312  # bert-base-chinese, without the pooler


def test_old_names_and_a_pretraining_checkpoint(folder: Path) -> None:
    import torch

    expected = logits(folder)

    def as_of_old(tensors: Tensors) -> Tensors:
        old = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in tensors.items()
        }
        old["bert.pooler.dense.weight"] = torch.zeros(16, 16)
        old["cls.seq_relationship.bias"] = torch.zeros(2)
        old["bert.embeddings.position_ids"] = torch.arange(32)[None]
        old[HEAD + "decoder.weight"] = tensors[WORDS]
        return old

    edit_weights(folder, as_of_old)
    edit_config(folder, architectures=["BertForPreTraining"])
    assert torch.equal(logits(folder), expected)


def test_half_precision_files_run_in_float32(folder: Path) -> None:
    import torch

    expected = logits(folder)
    edit_weights(folder, lambda tensors: {n: t.half() for n, t in tensors.items()})
    edit_config(folder, dtype="float16")
    close = logits(folder)
    assert close.dtype == torch.float32
    assert float((close - expected).abs().max()) < 1e-2


def test_a_decoder_of_its_own_is_kept(folder: Path) -> None:
    import torch

    expected = logits(folder)
    edit_weights(folder, lambda t: {**t, HEAD + "decoder.weight": 2 * t[WORDS]})
    loaded = models.load_model(str(folder))
    assert loaded.config["tie_word_embeddings"] is False
    assert loaded.info.parameters == sum(p.numel() for p in loaded.network.parameters())
    bias = loaded.network.cls.predictions.bias
    assert torch.allclose(logits(folder) - bias, 2 * (expected - bias), atol=1e-6)


def test_letter_case_is_what_the_configuration_says(folder: Path) -> None:
    kept = models.load_model(str(folder)).tokenizer
    assert kept.encode("A[MASK]").tokens[1] == "A"
    kept.save(str(folder / "tokenizer.json"))
    edit_config(folder, "tokenizer_config.json", do_lower_case=True)
    assert models.load_model(str(folder)).tokenizer.encode("A[MASK]").tokens[1] == "a"
    (folder / "tokenizer.json").unlink()
    assert models.load_model(str(folder)).tokenizer.encode("A[MASK]").tokens[1] == "a"


def test_vocab_txt_reads_as_transformers_reads_it(folder: Path) -> None:
    from transformers import BertTokenizer

    ours = read_tokenizer(folder)
    theirs = BertTokenizer.from_pretrained(folder)
    for text in ("床前明月光,疑是[MASK]上霜。", "Ab a", "霜b下!"):
        assert ours.encode(text).ids == theirs(text)["input_ids"]


# --- what does not ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "code of its own, which is never run"),
        ({"quantization_config": {"bits": 4}}, "name the model in floating point"),
        ({"is_decoder": True}, "name an encoder"),
        ({"position_embedding_type": "relative_key"}, "other than absolute"),
        ({"num_hidden_layers": "1"}, "num_hidden_layers is '1'"),
        ({"num_attention_heads": 3}, "no multiple of num_attention_heads"),
        ({"hidden_act": "sparkle"}, "sparkle"),
        ({"layer_norm_eps": "small"}, "does not describe a BERT"),
        ({"hidden_size": 32}, "they belong to different models"),
        ({"num_hidden_layers": 2}, "it is not the model config.json describes"),
        ({"vocab_size": 20}, "has id 20, the model has 20 tokens"),
        ({"vocab_size": 22}, "they belong to different models"),
        ({"vocab_size": 60}, "the tokenizer has 21 tokens, the model 60"),
    ],
)
def test_configurations_that_cannot_be(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit_config(folder, **changes)
    assert words in refused(folder)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_broken_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refused(folder)


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "only pytorch_model.bin: a pickle can run code" in refused(folder)


@pytest.mark.parametrize("size", [0, 4, 100, 5000])
def test_a_truncated_file(folder: Path, size: int) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:size])
    assert "is no whole safetensors file" in refused(folder)


def without(*prefixes: str) -> Callable[[Tensors], Tensors]:
    """Return a change that drops tensors by prefix."""
    return lambda tensors: {n: t for n, t in tensors.items() if not n.startswith(prefixes)}


def test_a_model_without_a_head(folder: Path) -> None:
    edit_weights(folder, without("cls."))
    assert "has no head to fill blanks with" in refused(folder)


def test_part_of_a_head(folder: Path) -> None:
    edit_weights(folder, without("cls.predictions.transform.LayerNorm"))
    assert "lacks cls.predictions.transform.LayerNorm.bias, " in refused(folder)


def test_part_of_a_layer_is_missing(folder: Path) -> None:
    edit_weights(folder, without("bert.encoder.layer.0.output.dense"))
    assert "lacks bert.encoder.layer.0.output.dense.bias" in refused(folder)


def test_a_layer_too_many(folder: Path) -> None:
    def more(tensors: Tensors) -> Tensors:
        extra = {n.replace("layer.0.", "layer.1."): t for n, t in tensors.items()}
        return {**tensors, **extra}

    edit_weights(folder, more)
    assert "no place for: bert.encoder.layer.1." in refused(folder)


@pytest.mark.parametrize("bad", ["nan", "inf"])
def test_numbers_that_are_none(folder: Path, bad: str) -> None:
    edit_weights(folder, lambda t: {**t, WORDS: t[WORDS] * float(bad)})
    assert "holds NaN or infinity" in refused(folder)


def test_whole_numbers_for_weights(folder: Path) -> None:
    edit_weights(folder, lambda t: {**t, WORDS: t[WORDS].char()})
    assert "is int8: name the model in floating point" in refused(folder)


@pytest.mark.parametrize("name", ["../../secret.safetensors", "weights.bin"])
def test_an_index_that_points_elsewhere(folder: Path, name: str) -> None:
    (folder / WEIGHTS).unlink()
    (folder / (WEIGHTS + ".index.json")).write_text(json.dumps({"weight_map": {"a": name}}))
    assert "names no safetensors file" in refused(folder)


def test_a_shard_is_missing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (folder / (WEIGHTS + ".index.json")).write_text(json.dumps(index))
    assert "lacks model-00001-of-00001.safetensors" in refused(folder)


def test_tokenizers_that_cannot_be(folder: Path) -> None:
    text = (folder / "vocab.txt").read_text(encoding="utf-8")
    (folder / "vocab.txt").write_text(text.replace("[MASK]", "mask"), encoding="utf-8")
    assert "has no [MASK]" in refused(folder)
    (folder / "tokenizer.json").write_text("{}")
    assert "is not a readable tokenizer" in refused(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").unlink()
    assert "has no tokenizer" in refused(folder)


def test_two_vocabularies_at_odds(folder: Path) -> None:
    read_tokenizer(folder).save(str(folder / "tokenizer.json"))
    text = (folder / "vocab.txt").read_text(encoding="utf-8")
    (folder / "vocab.txt").write_text(text.replace("床\n前", "前\n床"), encoding="utf-8")
    assert "in tokenizer.json and" in refused(folder)


def test_a_tokenizer_that_frames_nothing(folder: Path) -> None:
    from tokenizers.processors import Sequence

    tokenizer = read_tokenizer(folder)
    tokenizer.post_processor = Sequence([])
    tokenizer.save(str(folder / "tokenizer.json"))
    edit_config(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    assert "not [CLS] [MASK] [SEP]" in refused(folder)


def test_paths_that_are_no_models(tmp_path: Path) -> None:
    assert "is no folder" in refused(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert "is no folder" in refused(tmp_path / "file")
    assert "has no model.safetensors" in refused(tmp_path)


def test_revisions_belong_to_the_hub(folder: Path) -> None:
    for name in (folder, "builtin", "builtin-6layer", "builtin-small"):
        assert "has no revisions" in refused(name, "main")


# --- the built-in models ---


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of the built-in small model's shape, as ``builtin/train.py`` leaves them."""
    from safetensors.torch import save_file
    from transformers import BertForMaskedLM

    from tiankong.toolkit.models.builtin.train import configuration

    network = BertForMaskedLM(configuration(len(vocabulary.tokens())))
    path = tmp_path / WEIGHTS
    save_file({n: p.detach().half() for n, p in network.named_parameters()}, path)
    monkeypatch.setattr(catalogue, "BUILTIN_WEIGHTS", path)
    return path


def test_the_small_built_in_model(trained: Path, tmp_path: Path) -> None:
    loaded = models.load_model("builtin-small")
    assert loaded.info.revision == sha256(trained)
    assert loaded.info == models.list_models()[2]
    assert loaded.info.parameters == sum(p.numel() for p in loaded.network.parameters())
    assert loaded.tokenizer.get_vocab_size() == loaded.info.vocabulary
    assert loaded.config["architectures"] == ["BertForMaskedLM"]
    folder = tmp_path / "saved"
    loaded.network.save_pretrained(folder)
    loaded.tokenizer.save(str(folder / "tokenizer.json"))
    again = models.load_model(str(folder))
    assert (again.info.layers, again.info.hidden) == (4, 256)
    assert again.tokenizer.encode("床前[MASK]").ids == loaded.tokenizer.encode("床前[MASK]").ids


def test_the_grown_built_in_model(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiankong.toolkit.models.builtin.grow.grow", lambda small, *sizes: small)
    loaded = models.load_model("builtin")
    assert loaded.info == models.list_models()[0]
    assert loaded.info.vocabulary == loaded.tokenizer.get_vocab_size() == 21128
    assert "only indicative of bert-base-chinese" in loaded.info.caveat
    assert "not bert-base-chinese's" in loaded.info.caveat


def test_built_in_weights_that_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "BUILTIN_WEIGHTS", tmp_path / "none")
    assert "are not installed" in refused("builtin")
    assert "are not installed" in refused("builtin-6layer")
    assert "are not installed" in refused("builtin-small")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert [info.revision for info in models.list_models()] == ["", "", ""]


def test_the_list_needs_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; from tiankong.toolkit.models.loading import list_models; list_models();"
        " print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert run.stdout.strip() == "[]"
