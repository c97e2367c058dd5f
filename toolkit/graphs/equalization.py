"""Even out the channels of a network before it is quantized, without changing what it computes.

If a channel of an attention's values is 200 times as large, and its column in the output layer 200
times as small, the network computes the same.  But 8 bits with one scale for a whole activation
then have no room for the other channels.  So the two sides of such a channel share its size evenly,
after Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction".
Here the factors are powers of two, so float32 computes exactly the same, and channels less than
four times out of line stay as they are: an ordinary network is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..models.families import family

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Side = Sequence[tuple[Any, int]]
"""Tensors, the weight first, and the axis of each that counts the channels."""

BERT_ATTENTION = ("self.query", "self.key", "self.value", "output.dense")
ATTENTION = {
    "bert": BERT_ATTENTION,
    "electra": BERT_ATTENTION,
    "albert": ("query", "key", "value", "dense"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin"),
}
"""Query, key, value and output of an attention block, by kind of family."""
HEAD = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm"),
    "albert": ("predictions.dense", "predictions.LayerNorm"),
    "distilbert": ("vocab_transform", "vocab_layer_norm"),
}
"""The head's first linear layer and its normalization, by kind of family."""
LAST_NORM = {
    "bert": "bert.encoder.layer.{}.output.LayerNorm",
    "electra": "electra.encoder.layer.{}.output.LayerNorm",
    "distilbert": "distilbert.transformer.layer.{}.output_layer_norm",
}
"""The normalization that only the head reads; ALBERT has none, as its layers share one."""
SMALLEST = 2.0**-60  # as large as a channel of zeros counts


@contextmanager
def equalized(network: PreTrainedModel) -> Iterator[None]:
    """Meanwhile, no channel of a network is far out of line; afterwards its weights are as before.

    The network is one of the families (:mod:`~tiankong.toolkit.models.families`) in float32.
    """
    import torch

    before: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        with torch.no_grad():
            for larger, smaller in _pairs(network):
                factors = _factors(larger, smaller)
                if bool((factors == 1).all()):
                    continue
                before += [(tensor, tensor.clone()) for tensor, _ in (*larger, *smaller)]
                for side, factor in ((larger, factors), (smaller, 1 / factors)):
                    for tensor, axis in side:
                        tensor.mul_(factor if axis == tensor.dim() - 1 else factor[:, None])
        yield
    finally:
        with torch.no_grad():
            for tensor, saved in reversed(before):
                tensor.copy_(saved)


def _factors(one: Side, other: Side) -> torch.Tensor:
    """Return the power of two for each channel of ``one``; ``other`` is divided by it."""
    import torch

    def size(side: Side) -> torch.Tensor:
        weight, axis = side[0]
        rows = weight.movedim(axis, 0).flatten(1) if weight.dim() > 1 else weight[:, None]
        return torch.log2(rows.abs().amax(1).clamp(min=SMALLEST))

    out_of_line = (size(other) - size(one)) / 2
    return torch.exp2(torch.trunc(out_of_line - out_of_line.median()))


def _pairs(network: PreTrainedModel) -> Iterator[tuple[Side, Side]]:
    """Yield the two sides of channels that can be scaled against each other."""
    config = network.config.to_dict()
    model_family = family(config)
    kind = model_family.kind
    names = ATTENTION[kind]
    end = f".{names[0]}"
    for name, _ in network.named_modules():
        if name.endswith(end):
            block = name.removesuffix(end)
            query, key, value, output = (network.get_submodule(f"{block}.{n}") for n in names)
            yield _made_by(query), _made_by(key)
            yield _made_by(value), _read_by(output)
    dense, norm = (network.get_submodule(name) for name in HEAD[kind])
    if kind in LAST_NORM:
        layers = config[model_family.key("layers")]
        yield _made_by(network.get_submodule(LAST_NORM[kind].format(layers - 1))), _read_by(dense)
    if not network.config.tie_word_embeddings:
        decoder = network.get_submodule(model_family.decoder.removesuffix(".weight"))
        yield _made_by(norm), _read_by(decoder)


def _made_by(module: Any) -> Side:
    return [(tensor, 0) for tensor in (module.weight, module.bias) if tensor is not None]


def _read_by(linear: Any) -> Side:
    return [(linear.weight, 1)]
