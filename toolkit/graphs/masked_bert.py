"""A BERT as a PyTorch module that computes only what a fill-mask answer needs.

It takes the exact steps of rewrites.py before the export: in the last layer query, output and
feed-forward only at each [MASK]; the head only there; softmax and the choice of the best tokens
inside the model.  And it leaves padding out, as unpadding.py does for ONNX graphs: everything works
on one row a token, and only attention sees the sentences padded to one length.

Query, key and value are three products: one product of all three, and splitting it, took longer in
OpenVINO.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import BertForMaskedLM

from ..engines.outputs import DEPTH
from ..errors import UnusableInputError

HIDDEN_FROM_ATTENTION = -10000.0  # its exponential is 0 in float32 as in bfloat16
# The number of rows is a multiple of this: an engine prepares kernels for every number it meets.
ROWS_MULTIPLE = 8


class AskedBert(nn.Module):
    """Computes logits and the best tokens at the positions of the masks.

    Inputs: ``input_ids``, ``attention_mask``, ``token_type_ids`` of shape (sentences, tokens).
    Outputs: logits (masks, vocabulary), the best tokens' probabilities and ids (masks, 50 or all);
    masks are sentence by sentence, in text order.

    Args:
        network: the BERT.
        mask_id: the id of [MASK].

    Raises UnusableInputError if the network is not a BERT.

    """

    def __init__(self, network: nn.Module, mask_id: int) -> None:
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
        self.mask_id = mask_id

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits, probabilities and ids."""
        places = torch.nonzero(mask.flatten())[:, 0]  # of every row among the padded tokens
        # Further rows repeat the first token; nobody reads them.
        more = places.new_zeros((-places.shape[0]) % ROWS_MULTIPLE)
        places = torch.cat([places, more])
        # The row of every padded token; padding reads a row that attention then hides.
        rows = (torch.cumsum(mask.flatten(), 0) - 1).clamp(min=0).view(mask.shape)
        bias = (1.0 - mask[:, None, None, :].float()) * HIDDEN_FROM_ATTENTION
        hidden = self._embed(ids.flatten()[places], types.flatten()[places], places % ids.shape[1])
        layer: Any
        for layer in self.before:
            inner = layer.attention.self
            query, key, value = (
                linear(hidden)[rows] for linear in (inner.query, inner.key, inner.value)
            )
            context = self._attend(query, key, value, bias)
            hidden = _finish_layer(layer, context.flatten(0, 1)[places], hidden)
        masks = torch.nonzero((ids == self.mask_id) & (mask != 0))
        sentences = masks[:, 0]
        inner, own = self.last.attention.self, rows[sentences]
        at_masks = hidden[own.gather(1, masks[:, 1:])[:, 0]]
        query, key, value = inner.query(at_masks)[:, None], inner.key(hidden), inner.value(hidden)
        context = self._attend(query, key[own], value[own], bias[sentences])
        logits = self.head(_finish_layer(self.last, context[:, 0], at_masks))
        scores, best = torch.topk(torch.softmax(logits, dim=-1), self.best)
        return logits, scores, best.to(torch.int32)

    def _embed(
        self, ids: torch.Tensor, types: torch.Tensor, positions: torch.Tensor
    ) -> torch.Tensor:
        """Return the embeddings of tokens, of shape (rows, hidden size)."""
        tables = self.embeddings
        total = tables.word_embeddings(ids) + tables.token_type_embeddings(types)
        hidden: torch.Tensor = tables.LayerNorm(total + tables.position_embeddings(positions))
        return hidden

    def _attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in
                             (query, key, value))  # fmt: skip
        context = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return context.transpose(1, 2).flatten(2)


def _finish_layer(layer: Any, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Return a layer's output, computed from its attention context and its input."""
    attended = layer.attention.output(context, hidden)
    result: torch.Tensor = layer.feed_forward_chunk(attended)
    return result
