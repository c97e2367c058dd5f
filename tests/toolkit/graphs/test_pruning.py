"""Which tokens pruning removes, and that nothing else changes."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import AddedToken, Tokenizer, models
from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

from tiankong.toolkit.engines.onnx_engine import OnnxEngine
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs import steps as graphs
from tiankong.toolkit.graphs.pruning import kept_ids, prune_config, prune_tokenizer
from tiankong.toolkit.graphs.rewrites import prune_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HAN = list("床前明月光疑是地上霜天气真好")
SINGLE = [*HAN, "，", "。", *string.ascii_lowercase, *string.digits, "é"]
FOLLOWING = [f"##{c}" for c in string.ascii_lowercase + string.digits]
DROPPED = ["[unused1]", "hello", "##llo", "2008", "##08", "##床", "##，", "天气"]
TOKENS = [*SPECIAL[:1], "[unused1]", *SPECIAL[1:], "hello", *SINGLE, "##llo", *FOLLOWING, "2008",
          "##08", "##床", "##，", "天气"]  # fmt: skip


@pytest.fixture
def whole() -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    made = BertWordPieceTokenizer(vocab=vocabulary, lowercase=True)
    made.add_special_tokens(SPECIAL)
    return made._tokenizer


@pytest.fixture
def pruned(whole: Tokenizer) -> Tokenizer:
    return prune_tokenizer(whole, kept_ids(whole))


def test_what_leaves(whole: Tokenizer, pruned: Tokenizer) -> None:
    assert set(TOKENS) - set(pruned.get_vocab()) == set(DROPPED)
    assert sorted(pruned.get_vocab().values()) == list(range(len(TOKENS) - len(DROPPED)))
    assert kept_ids(pruned) == list(range(len(TOKENS) - len(DROPPED)))


@pytest.mark.parametrize("text", ["床前明月光，疑是地[MASK]霜。", "[MASK]", "天气真[MASK]é。床z9"])
def test_chinese_is_tokenized_as_before(whole: Tokenizer, pruned: Tokenizer, text: str) -> None:
    before, after = whole.encode(text), pruned.encode(text)
    assert after.tokens == before.tokens
    assert after.ids == [pruned.token_to_id(token) for token in after.tokens]
    assert after.tokens[0] == "[CLS]"


def test_words_are_spelled(whole: Tokenizer, pruned: Tokenizer) -> None:
    assert "hello" in whole.encode("hello 2008").tokens
    assert pruned.encode("hello 08", add_special_tokens=False).tokens == [
        "h", "##e", "##l", "##l", "##o", "0", "##8",
    ]  # fmt: skip


def test_a_frame_by_template_is_renumbered(whole: Tokenizer) -> None:
    from tokenizers.processors import TemplateProcessing

    ids = [(t, whole.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    whole.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ids)
    pruned = prune_tokenizer(whole, kept_ids(whole))
    encoded = pruned.encode("床[MASK]")
    assert encoded.ids == [pruned.token_to_id(token) for token in encoded.tokens]


def test_added_words_stay_whole(whole: Tokenizer) -> None:
    whole.add_tokens([AddedToken("新冠肺炎", normalized=True), AddedToken("[NAME]", special=True)])
    pruned = prune_tokenizer(whole, kept_ids(whole))
    ids = pruned.encode("床新冠肺炎[NAME]hello", add_special_tokens=False).ids
    encoder = TextEncoder(pruned)
    assert [encoder.token(i) for i in ids[:3]] == ["床", "新冠肺炎", "[NAME]"]
    assert ids[1:3] == [len(TOKENS) - len(DROPPED), len(TOKENS) - len(DROPPED) + 1]


def test_config_follows() -> None:
    config = prune_config({"vocab_size": 9, "pad_token_id": 3, "sep_token_id": 4}, [0, 1, 3])
    assert config == {"vocab_size": 3, "pad_token_id": 2, "sep_token_id": None}


def test_a_tokenizer_of_ranked_pieces_is_refused() -> None:
    unigram = Tokenizer(models.Unigram([("[MASK]", 0.0), ("a", -1.0)], unk_id=0))
    with pytest.raises(UnusableInputError, match="only a WordPiece vocabulary"):
        prune_tokenizer(unigram, [0, 1])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=64, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=64, max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    network = BertForMaskedLM(config).eval()
    torch.nn.init.normal_(network.cls.predictions.bias)
    path = tmp_path_factory.mktemp("pruning") / "whole.onnx"
    graphs.export(network, path)
    return path


def test_kept_tokens_have_the_same_logits(
    exported: Path, whole: Tokenizer, pruned: Tokenizer, tmp_path: Path
) -> None:
    kept = kept_ids(whole)
    model = onnx.load(str(exported))
    prune_vocabulary(model, kept)
    onnx.checker.check_model(model)
    onnx.save(model, str(tmp_path / "pruned.onnx"))
    texts = ["床前明[MASK]光，", "疑是[MASK]上[MASK]。"]
    logits = []
    for path, tokenizer in ((exported, whole), (tmp_path / "pruned.onnx", pruned)):
        encoder = TextEncoder(tokenizer, 32)
        logits.append(OnnxEngine(path, 1).logits(encoder.batch([encoder.encode(t) for t in texts])))
    assert logits[1].shape == (3, len(kept))
    np.testing.assert_allclose(logits[1], logits[0][:, kept], atol=1e-5)


def test_ids_beyond_the_graph_are_refused(exported: Path) -> None:
    with pytest.raises(UnusableInputError, match=f"has id {len(TOKENS)}"):
        prune_vocabulary(onnx.load(str(exported)), [0, len(TOKENS)])


def test_a_graph_without_a_table_of_tokens_is_refused(exported: Path) -> None:
    model = onnx.load(str(exported))
    for node in model.graph.node:
        if node.op_type == "Gather" and "input_ids" in node.input:
            node.op_type = "GatherElements"
    with pytest.raises(UnusableInputError, match="cannot be pruned"):
        prune_vocabulary(model, [0, 1])
