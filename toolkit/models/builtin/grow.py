"""Grow a small BertForMaskedLM to a larger geometry that computes the same function.

Width: hidden states of width ``h`` are repeated ``k`` times (tiled) to ``k*h``.  This keeps the
mean and the variance that LayerNorm sees.  So vectors that are added to activations or scale them
(embeddings, biases, LayerNorm parameters) are tiled.  A matrix is tiled along both axes and divided
by ``k``.  Heads keep their size; there are ``k`` times as many.  The decoder shares the tiled
embeddings, so the parameters of the LayerNorm before it are divided by ``k``.

Depth: layers are inserted after each layer; with it they form a group.  An inserted layer adds
nothing to its input, hence computes ``LN(LN(x))``.  The LayerNorm at the end of every layer of the
group gets weight 1 and bias 0, except the last, which gets the original's.  The weights of an
inserted layer must not be zero: exporters merge equal tensors and would skip their work.  So they
are random, with the standard deviation of the original layer's, in pairs that cancel out.

Vocabulary: added rows are random, with a bias so low that they are in no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import BertConfig, BertForMaskedLM

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

UNUSED_BIAS = -100.0  # exp(-100) is negligible beside any real logit, and float16 can store it
SEED = 20_26


def grow(
    small: PreTrainedModel, layers: int = 12, hidden: int = 768, vocabulary: int = 21128
) -> BertForMaskedLM:
    """Return a float32 model of the larger geometry with the logits of ``small``.

    If layers do not divide evenly, the first groups get one more (4 to 6: two, two, one, one).
    Raises ValueError if the hidden size is no multiple of the small model's, or if ``small`` has
    more layers.
    """
    config: Any = small.config
    if hidden % config.hidden_size or layers < config.num_hidden_layers:
        raise ValueError("the hidden size must be a multiple of the small model's, layers as many")
    times = hidden // config.hidden_size
    large: BertForMaskedLM = BertForMaskedLM(_geometry(config, layers, times, vocabulary)).eval()
    source = {name: p.detach().float() for name, p in small.named_parameters()}
    target = {name: p.data for name, p in large.named_parameters()}
    generator = torch.Generator().manual_seed(SEED)
    _grow_embeddings(source, target, times, generator)
    each, over = divmod(layers, config.num_hidden_layers)
    first = 0
    for index in range(config.num_hidden_layers):
        group = range(first, first + each + (index < over))
        _grow_group(source, target, index, group, times, generator)
        first = group.stop
    _grow_head(source, target, times)
    large.tie_weights()
    large.config._attn_implementation = "eager"
    return large


def _geometry(config: BertConfig, layers: int, times: int, vocabulary: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=times * config.hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=times * config.num_attention_heads,
        intermediate_size=times * config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        layer_norm_eps=config.layer_norm_eps,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=config.pad_token_id,
    )


def _tiled(tensor: Tensor, times: int) -> Tensor:
    """Tile a vector; tile a matrix along both axes and divide it by ``times``."""
    if tensor.dim() == 1:
        return tensor.repeat(times)
    return tensor.repeat(times, times) / times


def _grow_embeddings(
    source: dict[str, Tensor], target: dict[str, Tensor], times: int, generator: torch.Generator
) -> None:
    prefix = "bert.embeddings."
    words = source[prefix + "word_embeddings.weight"]
    grown = target[prefix + "word_embeddings.weight"]
    grown.normal_(0.0, float(words.std()), generator=generator)
    grown[: len(words)] = words.repeat(1, times)
    for name in ("position_embeddings.weight", "token_type_embeddings.weight"):
        target[prefix + name].copy_(source[prefix + name].repeat(1, times))
    for name in ("LayerNorm.weight", "LayerNorm.bias"):
        target[prefix + name].copy_(source[prefix + name].repeat(times))


def _grow_head(source: dict[str, Tensor], target: dict[str, Tensor], times: int) -> None:
    prefix = "cls.predictions."
    bias = target[prefix + "bias"]
    bias.fill_(UNUSED_BIAS)
    bias[: len(source[prefix + "bias"])] = source[prefix + "bias"]
    for name in ("transform.dense.weight", "transform.dense.bias"):
        target[prefix + name].copy_(_tiled(source[prefix + name], times))
    for name in ("transform.LayerNorm.weight", "transform.LayerNorm.bias"):
        target[prefix + name].copy_(_tiled(source[prefix + name], times) / times)


def _layer(index: int) -> str:
    return f"bert.encoder.layer.{index}."


def _grow_group(
    source: dict[str, Tensor],
    target: dict[str, Tensor],
    index: int,
    group: range,
    times: int,
    generator: torch.Generator,
) -> None:
    """Grow one layer to the first layer of a group; fill the others so that they add nothing."""
    first, last = group[0], group[-1]
    names = [name for name in source if name.startswith(_layer(index))]
    for name in names:
        grown = name.replace(_layer(index), _layer(first))
        target[grown].copy_(_tiled(source[name], times))
    for inserted in range(first + 1, last + 1):
        _fill_neutral(target, _layer(first), _layer(inserted), generator)
    closing = "output.LayerNorm."
    for part in ("weight", "bias"):
        original = target[_layer(first) + closing + part].clone()
        for position in range(first, last):
            target[_layer(position) + closing + part].fill_(1.0 if part == "weight" else 0.0)
        target[_layer(last) + closing + part].copy_(original)


def _fill_neutral(
    target: dict[str, Tensor], beside: str, inserted: str, generator: torch.Generator
) -> None:
    """Give a layer random weights whose two residual branches cancel exactly."""

    def random_like(name: str, *shape: int) -> Tensor:
        spread = float(target[beside + name].std())
        return torch.randn(*shape, generator=generator) * max(spread, 1e-3)

    for name in ("query", "key", "value"):  # equal heads in pairs
        for part in ("weight", "bias"):
            full = f"attention.self.{name}.{part}"
            grown = target[inserted + full]
            half = grown.shape[0] // 2
            values = random_like(full, half, *grown.shape[1:])
            grown.copy_(torch.cat([values, values]))
    for part in ("weight", "bias"):  # equal feed-forward units in pairs
        full = f"intermediate.dense.{part}"
        grown = target[inserted + full]
        values = random_like(full, grown.shape[0] // 2, *grown.shape[1:])
        grown.copy_(torch.cat([values, values]))
    for full in ("attention.output.dense.weight", "output.dense.weight"):  # opposite columns
        grown = target[inserted + full]
        values = random_like(full, grown.shape[0], grown.shape[1] // 2)
        grown.copy_(torch.cat([values, -values], dim=1))
    for full in ("attention.output.dense.bias", "output.dense.bias"):
        target[inserted + full].zero_()
    for block in ("attention.output.LayerNorm.", "output.LayerNorm."):
        target[inserted + block + "weight"].fill_(1.0)
        target[inserted + block + "bias"].zero_()
