"""Folders in the layouts of well-known public checkpoints, with small random weights.

File names, tensor names, the keys of config.json and the tokenizer's files follow the repositories
on huggingface.co.  For hfl, ckiplab, uer and clue, listings and configurations of the repositories,
or of models fine-tuned from them, were read; the others follow the versions of transformers that
wrote them.  Sizes, weights and the vocabulary's length are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from family_models import characters

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

PICKLE, WEIGHTS = "pytorch_model.bin", "model.safetensors"
SPECIAL = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}  # fmt: skip
DROPOUTS = {"attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1}
TOP_POOLER = {
    "directionality": "bidi", "pooler_fc_size": 768, "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3, "pooler_size_per_head": 128, "pooler_type": "first_token_transform",
}  # fmt: skip
BERT = {
    **DROPOUTS, "hidden_act": "gelu", "initializer_range": 0.02, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "bert", "type_vocab_size": 2,
}  # fmt: skip
ALBERT = {
    "attention_probs_dropout_prob": 0, "hidden_dropout_prob": 0, "classifier_dropout_prob": 0.1,
    "initializer_range": 0.02, "inner_group_num": 1, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "model_type": "albert", "num_hidden_groups": 1,
    "pad_token_id": 0, "type_vocab_size": 2,
}  # fmt: skip
GOOGLES_ALBERT = {
    "down_scale_factor": 1, "gap_size": 0, "net_structure_type": 0, "num_memory_blocks": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """One repository: its name, network, configuration, tokenizer's files and weights.

    ``network`` is the class of transformers its weights are of; ``stored`` makes the tensors that
    the file has of that network's.  ``shards``: in how many pickled files; 0: in safetensors.
    ``legacy``: saved before PyTorch 1.6.  ``tokenizer`` and ``plain``: the classes that the model's
    card names where ``AutoTokenizer`` and ``AutoModelForMaskedLM`` cannot tell them.
    """

    repo: str
    network: str
    config: Mapping[str, Any]
    files: Mapping[str, Any] = field(default_factory=dict)
    stored: Callable[[State], State] = dict
    cased: bool = False
    fast: bool = False
    legacy: bool = False
    shards: int = 1
    tokenizer: str = "AutoTokenizer"
    plain: str = "AutoModelForMaskedLM"


def old_norms(state: State) -> State:
    """TensorFlow's names of the weights of LayerNorm, as early conversions kept them."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for name, t in state.items()
    }


def with_positions(state: State) -> State:
    """The buffer of positions, which transformers saved from version 3 to 4.30."""
    import torch

    base = next(iter(state)).partition(".")[0]
    return {f"{base}.embeddings.position_ids": torch.arange(512).unsqueeze(0), **state}


def without_bias_of_decoder(state: State) -> State:
    """Only ``cls.predictions.bias``: the decoder had no second name for it before version 2.9."""
    return {name: t for name, t in state.items() if not name.endswith("decoder.bias")}


def tied_away(state: State) -> State:
    """Without the decoder's matrix, which is the embeddings'."""
    return {
        name: t for name, t in state.items() if "decoder" not in name and "projector.w" not in name
    }


LAYOUTS = (
    Layout(
        "google-bert/bert-base-chinese", "BertForPreTraining",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "pad_token_id": 0},
        {"tokenizer_config.json": {"do_lower_case": False, "model_max_length": 512},
         "flax_model.msgpack": b"flax", "tf_model.h5": b"hdf"},
        stored=lambda state: old_norms(without_bias_of_decoder(state)), fast=True, shards=0,
    ),
    Layout(
        "hfl/chinese-bert-wwm", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "pad_token_id": 0},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "flax_model.msgpack": b"flax",
         "tf_model.h5": b"hdf"},
        fast=True, legacy=True,
    ),
    Layout(
        "hfl/chinese-bert-wwm-ext", "BertForPreTraining",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "output_past": True,
         "pad_token_id": 0},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "tf_model.h5": b"hdf"},
        stored=without_bias_of_decoder, fast=True, legacy=True,
    ),
    Layout(
        "hfl/chinese-roberta-wwm-ext", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "bos_token_id": 0,
         "eos_token_id": 2, "output_past": True, "pad_token_id": 0},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "flax_model.msgpack": b"flax",
         "tf_model.h5": b"hdf"},
        fast=True, legacy=True,
    ),
    Layout(  # as it was until 2021: [PAD] is 0 in its vocabulary, 1 in its configuration
        "hfl/chinese-roberta-wwm-ext-large", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "bos_token_id": 0,
         "eos_token_id": 2, "output_past": True, "pad_token_id": 1},
        {"special_tokens_map.json": SPECIAL, "tokenizer_config.json": {"init_inputs": []}},
        legacy=True,
    ),
    Layout(
        "hfl/rbt3", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "num_hidden_layers": 3,
         "output_past": True, "pad_token_id": 0},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "tf_model.h5": b"hdf"},
        fast=True, legacy=True,
    ),
    Layout(
        "hfl/chinese-macbert-base", "BertForPreTraining",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER,
         "gradient_checkpointing": False, "pad_token_id": 0},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "flax_model.msgpack": b"flax",
         "tf_model.h5": b"hdf"},
        stored=with_positions, fast=True,
    ),
    Layout(
        "hfl/chinese-electra-180g-base-generator", "ElectraForMaskedLM",
        {"architectures": ["ElectraForMaskedLM"], **BERT, "model_type": "electra",
         "embedding_size": 64, "num_attention_heads": 4, "pad_token_id": 0,
         "summary_activation": "gelu", "summary_last_dropout": 0.1, "summary_type": "first",
         "summary_use_proj": True},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"init_inputs": []}, "tf_model.h5": b"hdf"},
        stored=with_positions, fast=True,
    ),
    Layout(
        "uer/chinese_roberta_L-4_H-256", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, "gradient_checkpointing": False,
         "pad_token_id": 0},
        {"special_tokens_map.json": SPECIAL, "tf_model.h5": b"hdf",
         "tokenizer_config.json": {"do_lower_case": True, **SPECIAL, "model_max_length": 512,
                                   "tokenize_chinese_chars": True, "strip_accents": None}},
        stored=with_positions,
    ),
    Layout(
        "uer/albert-base-chinese-cluecorpussmall", "AlbertForMaskedLM",
        {"architectures": ["AlbertForMaskedLM"], **ALBERT, "bos_token_id": 2, "eos_token_id": 3,
         "embedding_size": 48, "hidden_act": "relu", "tokenizer_class": "BertTokenizer"},
        {"special_tokens_map.json": SPECIAL, "tf_model.h5": b"hdf",
         "tokenizer_config.json": {"do_lower_case": True, **SPECIAL, "tokenize_chinese_chars": True,
                                   "strip_accents": None, "tokenizer_class": "BertTokenizer"}},
        stored=with_positions,
    ),
    Layout(
        "ckiplab/bert-base-chinese", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "pad_token_id": 0,
         "tokenizer_class": "BertTokenizerFast"},
        {"special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"do_lower_case": False, **SPECIAL,
                                   "tokenize_chinese_chars": True, "strip_accents": None,
                                   "model_max_length": 512, "name_or_path": "bert-base-chinese"}},
        stored=with_positions,
    ),
    Layout(
        "ckiplab/albert-tiny-chinese", "AlbertForMaskedLM",
        {"architectures": ["AlbertForMaskedLM"], **ALBERT, **GOOGLES_ALBERT, "bos_token_id": 101,
         "eos_token_id": 102, "embedding_size": 48, "hidden_act": "gelu",
         "tokenizer_class": "BertTokenizerFast"},
        {"special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {**SPECIAL, "model_max_length": 512,
                                   "name_or_path": "bert-base-chinese"}},
        stored=with_positions,
    ),
    Layout(
        "clue/roberta_chinese_base", "BertForMaskedLM",
        {**BERT, **TOP_POOLER, "model_type": "roberta", "output_past": True},
        legacy=True, tokenizer="BertTokenizer", plain="BertForMaskedLM",
    ),
    Layout(
        "nghuyong/ernie-3.0-base-zh", "ErnieForMaskedLM",
        {"architectures": ["ErnieForMaskedLM"], **BERT, "layer_norm_eps": 1e-5,
         "max_position_embeddings": 2048, "model_type": "ernie", "pad_token_id": 0,
         "task_type_vocab_size": 3, "type_vocab_size": 4, "use_task_id": True},
        {"special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"do_lower_case": True, **SPECIAL,
                                   "tokenize_chinese_chars": True, "strip_accents": None,
                                   "tokenizer_class": "BertTokenizer"}},
    ),
    Layout(
        "voidful/albert_chinese_tiny", "AlbertForMaskedLM",
        {"architectures": ["AlbertForMaskedLM"], **ALBERT, **GOOGLES_ALBERT, "bos_token_id": 2,
         "eos_token_id": 3, "embedding_size": 48, "hidden_act": "gelu"},
        legacy=True, tokenizer="BertTokenizer",
    ),
    Layout(
        "Langboat/mengzi-bert-base", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, "gradient_checkpointing": False,
         "pad_token_id": 0, "position_embedding_type": "absolute", "use_cache": True,
         "transformers_version": "4.9.2"},
        {"special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"do_lower_case": True, **SPECIAL, "tokenize_chinese_chars": True,
                                   "strip_accents": None, "model_max_length": 512}},
        stored=lambda state: with_positions(tied_away(state)),
    ),
    Layout(
        "shibing624/macbert4csc-base-chinese", "BertForMaskedLM",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER,
         "gradient_checkpointing": False, "pad_token_id": 0,
         "torch_dtype": "float32", "transformers_version": "4.15.0",
         "position_embedding_type": "absolute", "use_cache": True},
        {"added_tokens.json": {}, "special_tokens_map.json": SPECIAL,
         "tokenizer_config.json": {"do_lower_case": True, **SPECIAL, "tokenize_chinese_chars": True,
                                   "strip_accents": None, "tokenizer_class": "BertTokenizer"}},
        stored=with_positions, shards=2,
    ),
    Layout(
        "distilbert/distilbert-base-multilingual-cased", "DistilBertForMaskedLM",
        {"activation": "gelu", "architectures": ["DistilBertForMaskedLM"], "attention_dropout": 0.1,
         "dropout": 0.1, "initializer_range": 0.02, "max_position_embeddings": 512,
         "model_type": "distilbert", "output_past": True, "pad_token_id": 0, "qa_dropout": 0.1,
         "seq_classif_dropout": 0.2, "sinusoidal_pos_embds": False, "tie_weights_": True},
        {"tokenizer_config.json": {"do_lower_case": False, "model_max_length": 512}},
        cased=True, fast=True, shards=0,
    ),
    Layout(
        "google-bert/bert-base-multilingual-cased", "BertForPreTraining",
        {"architectures": ["BertForMaskedLM"], **BERT, **TOP_POOLER, "pad_token_id": 0},
        {"tokenizer_config.json": {"do_lower_case": False, "model_max_length": 512},
         "flax_model.msgpack": b"flax", "tf_model.h5": b"hdf"},
        stored=lambda state: old_norms(without_bias_of_decoder(state)), cased=True, fast=True,
        shards=0,
    ),
)  # fmt: skip


def vocabulary(cased: bool) -> list[str]:
    """Return tokens in the order of Google's vocabularies: [PAD], 99 unused, specials, the rest."""
    latin = ["the", "ab", "##c", "##d", "iphone", "cafe", "naive", "##ve", "pro", "http", "www"]
    letters = [chr(n) for n in range(ord("a"), ord("z") + 1)] + [str(n) for n in range(10)]
    if cased:
        latin += ["The", "iPhone", "café", "Pro"]
        letters += [letter.upper() for letter in letters if letter.isalpha()] + ["é", "ï"]
    marks = list(
        "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~·–—‘’“”…、。〈〉《》「」『』【】！（），：；？～"
    )
    more = list("六①ⅳ２３あいうえおアイウ漢體龍한")
    tokens = [
        "[PAD]",
        *(f"[unused{n}]" for n in range(1, 100)),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    tokens += ["<S>", "<T>", *marks, *letters, *characters(), *latin, *more]
    tokens += [f"##{token}" for token in [*letters, *more, *characters()[:200]]]
    return list(dict.fromkeys(tokens))


def save_layout(layout: Layout, folder: Path) -> Path:
    """Write a repository's files into a new folder."""
    folder.mkdir(parents=True)
    tokens = vocabulary(layout.cased)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config, network = _network(layout, len(tokens))
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    for name, content in layout.files.items():
        path = folder / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    (folder / ".gitattributes").write_text("*.bin filter=lfs diff=lfs merge=lfs -text\n")
    (folder / "README.md").write_text("---\nlanguage: zh\n---\n")
    if layout.fast:
        _save_fast_tokenizer(folder, lowercase=not layout.cased)
    state = layout.stored({name: tensor.clone() for name, tensor in network.state_dict().items()})
    _save_weights(layout, folder, _tied(state, network))
    return folder


def _network(layout: Layout, size: int) -> tuple[dict[str, Any], Any]:
    import torch
    import transformers

    if layout.config["model_type"] == "distilbert":
        sizes = {"dim": 32, "hidden_dim": 64, "n_heads": 4, "n_layers": 2}
    else:
        sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
                 "num_hidden_layers": 2}  # fmt: skip
    config = {**sizes, **layout.config, "vocab_size": size}
    kind: Any = getattr(transformers, layout.network)
    torch.manual_seed(len(layout.repo))
    network = kind(kind.config_class.from_dict(config | {"initializer_range": 0.2}))
    with torch.no_grad():  # biases are zero at first: a lost one would not be noticed
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    return config, network


def _tied(state: State, network: Any) -> State:
    """Let tied tensors share one storage, as in the files."""
    kept: dict[int, torch.Tensor] = {}
    pointers = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    return {
        name: kept.setdefault(pointers[name], tensor) if name in pointers else tensor
        for name, tensor in state.items()
    }


def _save_weights(layout: Layout, folder: Path, state: State) -> None:
    import torch
    from safetensors.torch import save_file

    if not layout.shards:
        alone = {tensor.data_ptr(): name for name, tensor in reversed(list(state.items()))}
        save_file(
            {name: state[name] for name in alone.values()}, folder / WEIGHTS, {"format": "pt"}
        )
    elif layout.shards == 1:
        torch.save(state, folder / PICKLE, _use_new_zipfile_serialization=not layout.legacy)
    else:
        names = [
            f"pytorch_model-{n:05}-of-{layout.shards:05}.bin" for n in range(1, layout.shards + 1)
        ]
        where = {
            name: names[number * layout.shards // len(state)] for number, name in enumerate(state)
        }
        for shard in names:
            torch.save({n: t for n, t in state.items() if where[n] == shard}, folder / shard)
        index = {"metadata": {"total_size": 1}, "weight_map": where}
        (folder / f"{PICKLE}.index.json").write_text(json.dumps(index, indent=2))


def _save_fast_tokenizer(folder: Path, lowercase: bool) -> None:
    """Write ``tokenizer.json`` as conversions of a BERT tokenizer made it."""
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=lowercase)
    tokenizer.save(str(folder / "tokenizer.json"))
