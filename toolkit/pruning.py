"""A smaller vocabulary: tokens that Chinese text hardly needs leave the tokenizer and the graph.

Kept are the special tokens, every single character, and every ``##`` continuation of one character
that the tokenizer can give.  Left out are continuations it can never give (``##`` before a Chinese
character, which always stands alone), ``[unusedN]``, and pieces of several characters: a Latin word
or a number is then spelled character by character.  So Chinese sentences are tokenized as before,
those with Latin words or numbers are not, and a token left out is no answer any more.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from tokenizers import Tokenizer

from .errors import UnusableInputError
from .rewrites import LOGITS, Rewriter, width

CONTINUED = "##"


def kept_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that stay, in their order."""
    special = tokenizer.get_added_tokens_decoder()
    return sorted(
        index
        for token, index in tokenizer.get_vocab().items()
        if index in special or _stays(tokenizer, token)
    )


def _stays(tokenizer: Tokenizer, token: str) -> bool:
    if token.startswith(CONTINUED) and len(token) > len(CONTINUED):
        rest = token.removeprefix(CONTINUED)
        return len(rest) == 1 and _can_follow(tokenizer, rest)
    return len(token) == 1


def _can_follow(tokenizer: Tokenizer, character: str) -> bool:
    """Tell whether a character can be the second one of a word."""
    text = f"a{character}"
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return True
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)] == [f"a{character}"]


def prune_tokenizer(tokenizer: Tokenizer, kept: Sequence[int]) -> Tokenizer:
    """Return a tokenizer of the kept tokens only, numbered anew in their order.

    Raises UnusableInputError for a tokenizer that is no WordPiece (its pieces are not ranked by
    a vocabulary alone).
    """
    data = json.loads(tokenizer.to_str())
    if data["model"].get("type") != "WordPiece":
        raise UnusableInputError(
            "only a WordPiece vocabulary can be pruned: leave out the small variants"
        )
    new = {old: index for index, old in enumerate(kept)}
    vocabulary = data["model"]["vocab"]
    data["model"]["vocab"] = {t: new[i] for t, i in vocabulary.items() if i in new}
    for added in data["added_tokens"]:
        added["id"] = new[added["id"]]
    _renumber_frame(data.get("post_processor"), new)
    return Tokenizer.from_str(json.dumps(data, ensure_ascii=False))


def _renumber_frame(processor: dict[str, Any] | None, new: dict[int, int]) -> None:
    """Renumber [CLS] and [SEP] where the post-processor names them."""
    if processor is None:
        return
    for end in ("cls", "sep"):
        if end in processor:
            token, index = processor[end]
            processor[end] = [token, new[index]]
    for special in processor.get("special_tokens", {}).values():
        special["ids"] = [new[index] for index in special["ids"]]


def prune_config(config: dict[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """Return ``config.json`` for a pruned vocabulary."""
    changed = {**config, "vocab_size": len(kept)}
    for key in ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"):
        if isinstance(config.get(key), int):
            changed[key] = list(kept).index(config[key]) if config[key] in kept else None
    return changed


def prune_graph(model: onnx.ModelProto, kept: Sequence[int]) -> None:
    """Leave rows of the embedding, the decoder and its bias out of a graph with full logits.

    Raises UnusableInputError if the graph's weights are not where a BERT has them.
    """
    rewriter = Rewriter(model)
    before = width(model, LOGITS)
    if kept and max(kept) >= before:
        raise UnusableInputError(f"the tokenizer has id {max(kept)}, the graph {before} tokens")
    axes = _vocabulary_weights(rewriter)
    for tensor in model.graph.initializer:
        if tensor.name in axes:
            rows = np.take(numpy_helper.to_array(tensor), kept, axis=axes[tensor.name])
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rows), tensor.name))
    shape = [d.dim_param or d.dim_value for d in _output(model).type.tensor_type.shape.dim]
    rewriter.output(LOGITS, [*shape[:-1], len(kept)])


def _output(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    value: onnx.ValueInfoProto
    for value in model.graph.output:
        if value.name == LOGITS:
            return value
    raise UnusableInputError(f"this graph has no output {LOGITS!r}")


def _vocabulary_weights(rewriter: Rewriter) -> dict[str, int]:
    """Return the weights with an axis of tokens, and which axis it is."""
    weights = {tensor.name: len(tensor.dims) for tensor in rewriter.graph.initializer}
    axes = {
        node.input[0]: 0
        for node in rewriter.consumers("input_ids")
        if node.op_type == "Gather" and weights.get(node.input[0]) == 2
    }
    if len(axes) != 1:
        raise UnusableInputError("this graph looks no tokens up: its vocabulary cannot be pruned")
    decoder = rewriter.producer(LOGITS)
    if decoder.op_type == "Add":
        bias, product = sorted(decoder.input, key=lambda name: weights.get(name, 9))
        axes[bias] = 0
        decoder = rewriter.producer(product)
    stored = decoder.input[1]
    if stored not in weights:
        axes[rewriter.producer(stored).input[0]] = 0
    else:
        axes[stored] = 1
    if any(name not in weights for name in axes):
        raise UnusableInputError("this graph has no decoder of weights: it cannot be pruned")
    return axes
