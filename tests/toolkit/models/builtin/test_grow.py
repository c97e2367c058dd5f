"""The grown model is the small one's function, at bert-base's geometry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tiankong.toolkit.engines.predictor import Logits, top_ids
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.models.builtin.catalogue import MODELS
from tiankong.toolkit.models.loading import LoadedModel, load_model

if TYPE_CHECKING:
    from transformers import BertForMaskedLM

AT_ONCE = 32


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    return load_model("builtin-small")


@pytest.fixture(scope="module")
def grown() -> LoadedModel:
    return load_model("builtin")


def batches(encoder: TextEncoder, every: int) -> Iterator[Batch]:
    """Some sentences of the gold set, sorted so that a batch has similar lengths."""
    encoded = sorted((encoder.encode(text) for text in read_gold().texts()[::every]), key=len)
    for start in range(0, len(encoded), AT_ONCE):
        yield encoder.batch(encoded[start : start + AT_ONCE])


def at_masks(network: BertForMaskedLM, batch: Batch) -> Logits:
    import torch

    with torch.inference_mode():
        hidden = network.bert(
            input_ids=torch.from_numpy(batch.input_ids),
            attention_mask=torch.from_numpy(batch.attention_mask),
        ).last_hidden_state
        picked = hidden[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)]
        return np.asarray(network.cls(picked).numpy())


@pytest.mark.parametrize(("name", "every"), [("builtin", 1), ("builtin-6layer", 5)])
def test_same_logits_and_same_top_five_on_the_gold_set(
    small: LoadedModel, grown: LoadedModel, name: str, every: int
) -> None:
    grown = grown if name == "builtin" else load_model(name)
    known = small.info.vocabulary
    assert grown.info.layers == grown.network.config.num_hidden_layers
    asked, worst = 0, 0.0
    for batch in batches(TextEncoder(small.tokenizer), every):
        before, after = (at_masks(m.network, batch) for m in (small, grown))
        assert after.shape[1] == MODELS[name].geometry.vocabulary
        worst = max(worst, float(np.abs(before - after[:, :known]).max()))
        for ours, theirs in zip(before, after, strict=True):
            assert top_ids(ours, 5).tolist() == top_ids(theirs, 5).tolist()
            assert theirs[known:].max() < np.partition(theirs, -50)[-50] - 10  # no unused row near
            asked += 1
    assert asked == 365 // every
    assert worst <= 1e-3  # seen: 3e-5
    assert sum(p.numel() for p in grown.network.parameters()) == grown.info.parameters


def test_the_geometry_is_bert_base_chineses(grown: LoadedModel) -> None:
    config = grown.config
    sizes = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
    assert tuple(config[key] for key in (*sizes, "vocab_size")) == (12, 768, 12, 3072, 21128)
    assert sum(p.numel() for p in grown.network.parameters()) == 102_290_312
    assert {str(p.dtype) for p in grown.network.parameters()} == {"torch.float32"}
    assert grown.tokenizer.get_vocab_size() == 21128


def test_no_weight_matrix_is_zero_and_no_two_are_equal(grown: LoadedModel) -> None:
    matrices = {n: p.detach() for n, p in grown.network.named_parameters() if p.dim() == 2}
    sums = {}
    for name, matrix in matrices.items():
        if "token_type" in name:
            continue
        assert float((matrix == 0).float().mean()) < 0.01, name
        assert float(matrix.std()) > 1e-4, name
        sums[name] = float(matrix.double().square().sum())
    assert len(set(sums.values())) == len(sums)  # exporters merge equal tensors


def tiny(**sizes: int) -> BertForMaskedLM:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(3)
    geometry = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2}
    geometry |= {"num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 32}
    network = BertForMaskedLM(
        BertConfig(**{**geometry, **sizes}, initializer_range=0.2, attn_implementation="eager")
    ).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:  # biases and LayerNorms that could be mixed up
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(
    ("layers", "hidden", "vocabulary"),
    [(2, 32, 60), (4, 32, 60), (2, 96, 60), (6, 64, 90), (3, 64, 60), (5, 32, 90)],
)
def test_any_model_grows_to_the_same_function(layers: int, hidden: int, vocabulary: int) -> None:
    import torch

    from tiankong.toolkit.models.builtin.grow import grow

    small = tiny()
    large = grow(small, layers, hidden, vocabulary)
    ids = torch.arange(5, 25).reshape(2, 10)
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.inference_mode():
        before, after = (m(input_ids=ids, attention_mask=mask).logits for m in (small, large))
    assert float((before - after[..., :60]).abs().max()) <= 1e-3 * float(before.std())
    assert vocabulary == 60 or float(after[..., 60:].max()) < -50


@pytest.mark.parametrize(("layers", "hidden"), [(4, 48), (4, 16), (1, 32)])
def test_sizes_that_cannot_be_grown_to_are_refused(layers: int, hidden: int) -> None:
    from tiankong.toolkit.models.builtin.grow import grow

    with pytest.raises(ValueError, match="multiple of"):
        grow(tiny(), layers, hidden, 60)


def test_growing_twice_gives_the_same_weights() -> None:
    import torch

    from tiankong.toolkit.models.builtin.grow import grow

    first, second = (grow(tiny(), 4, 64, 90).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
