"""A BERT as a PyTorch module that computes only what a fill-mask answer needs.

It takes the exact steps of rewrites.py before the export: query, key and value in one product; in
the last layer query, output and feed-forward only at each [MASK]; the head only there; softmax and
the choice of the best tokens inside the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import BertForMaskedLM

from ..engines.outputs import DEPTH
from ..errors import UnusableInputError

HIDDEN_FROM_ATTENTION = -10000.0  # its exponential is 0 in float32 as in bfloat16


class AskedBert(nn.Module):
    """Computes logits and the best tokens at the positions of the masks.

    Inputs: ``input_ids``, ``attention_mask``, ``token_type_ids`` of shape (sentences, tokens);
    ``rows`` and ``columns`` of shape (masks,), the sentence and token of every [MASK].
    Outputs: logits (masks, vocabulary), the best tokens' probabilities and ids (masks, 50 or all).

    Raises UnusableInputError if the network is not a BERT.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, BertForMaskedLM):
            raise UnusableInputError(
                f"the step 'last-layer-at-mask' knows BERT, not {type(network).__name__}"
            )
        self.embeddings: Any = network.bert.embeddings
        layers: list[Any] = list(network.bert.encoder.layer)
        *before, self.last = layers
        self.before = nn.ModuleList(before)
        self.head: Any = network.cls
        self.heads = network.config.num_attention_heads
        self.best = min(DEPTH, network.config.vocab_size)
        inner = [layer.attention.self for layer in before]
        self.packed = nn.ModuleList(_side_by_side([a.query, a.key, a.value]) for a in inner)
        last = self.last.attention.self
        self.query, self.packed_last = last.query, _side_by_side([last.key, last.value])

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor,
        rows: torch.Tensor, columns: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
        """Return logits, probabilities and ids."""
        hidden = self.embeddings(input_ids=ids, token_type_ids=types)
        bias = (1.0 - mask[:, None, None, :].float()) * HIDDEN_FROM_ATTENTION
        for layer, packed in zip(self.before, self.packed, strict=True):
            query, key, value = packed(hidden).chunk(3, dim=-1)
            hidden = _finish_layer(layer, self._attend(query, key, value, bias), hidden)
        key, value = self.packed_last(hidden).chunk(2, dim=-1)
        at_masks = hidden.flatten(0, 1)[rows * hidden.shape[1] + columns]
        query = self.query(at_masks)[:, None]
        context = self._attend(query, key[rows], value[rows], bias[rows])
        logits = self.head(_finish_layer(self.last, context[:, 0], at_masks))
        scores, best = torch.topk(torch.softmax(logits, dim=-1), self.best)
        return logits, scores, best.to(torch.int32)

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in
                             (query, key, value))  # fmt: skip
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return context.transpose(1, 2).flatten(2)


def _side_by_side(linears: Sequence[nn.Linear]) -> nn.Linear:
    """Return one linear layer whose output is that of several, concatenated (same input)."""
    packed = nn.Linear(linears[0].in_features, sum(linear.out_features for linear in linears))
    with torch.no_grad():
        packed.weight.copy_(torch.cat([linear.weight for linear in linears]))
        packed.bias.copy_(torch.cat([linear.bias for linear in linears]))
    return packed


def _finish_layer(layer: Any, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return a layer's output, computed from its attention context and its input."""
    attended = layer.attention.output(context, hidden)
    result: torch.Tensor = layer.feed_forward_chunk(attended)
    return result
