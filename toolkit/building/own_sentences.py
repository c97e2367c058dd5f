"""Calibration sentences that a model writes itself, in its own tokens.

The shipped sentences are Chinese.  A model of proteins or of English knows few of their tokens, and
scales set by them fit nothing that it will be asked.  So it writes: from masks alone, tokens are
drawn from what the model thinks stands there, a part at a time and then again, as in Wang and Cho
2019, "BERT has a Mouth, and It Must Speak" (arXiv:1902.04094).  Then one to four tokens of each
sentence are masked, as people ask.  The seed is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engines.text import TextEncoder
from ..models.tokens import whole_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SENTENCES, BATCH, ROUNDS = 64, 16, 12
SHORTEST, LONGEST = 6, 48  # tokens, the frame apart
MOST_MASKS = 4
SEED = 0


def written(network: PreTrainedModel, encoder: TextEncoder) -> list[list[int]]:
    """Return sentences as ids, frame included, that a network writes."""
    random = np.random.default_rng(SEED)
    frame = len(encoder.framed([]))
    longest = min(LONGEST, encoder.max_tokens - frame)
    shortest = min(SHORTEST, longest)
    lengths = sorted(int(n) for n in random.integers(shortest, longest + 1, SENTENCES))
    sentences: list[list[int]] = []
    for begin in range(0, SENTENCES, BATCH):
        sentences += _batch(network, encoder, lengths[begin : begin + BATCH], random)
    return [encoder.framed(_asked(ids, encoder.mask_id, random)) for ids in sentences]


def _batch(
    network: PreTrainedModel, encoder: TextEncoder, lengths: list[int], random: np.random.Generator
) -> list[list[int]]:
    """Return sentences of given lengths (tokens), written together."""
    import torch

    ids_known = {i for i in encoder.vocabulary.values() if i < network.config.vocab_size}
    never = torch.ones(network.config.vocab_size, dtype=torch.bool)
    never[sorted(ids_known - whole_ids(encoder.tokenizer))] = False
    generator = torch.Generator().manual_seed(int(random.integers(2**31)))
    sentences = [[encoder.mask_id] * length for length in lengths]
    for number in range(ROUNDS):
        # First everything is masked, at the end a fifth.
        share = max(0.2, 1 - number / (ROUNDS - 2))
        places = [
            random.choice(length, max(1, round(length * share)), replace=False)
            for length in lengths
        ]
        for ids, masked in zip(sentences, places, strict=True):
            for place in masked:
                ids[place] = encoder.mask_id
        framed = [encoder.framed(ids) for ids in sentences]
        batch = encoder.batch(framed)
        given = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        with torch.inference_mode():
            logits = network(**{name: torch.from_numpy(v) for name, v in given.items()}).logits
        logits = logits[torch.from_numpy(batch.rows), torch.from_numpy(batch.columns)].float()
        logits[:, never] = -torch.inf
        drawn = torch.multinomial(torch.softmax(logits, dim=-1), 1, generator=generator)
        tokens = iter(drawn[:, 0].tolist())
        for ids in sentences:
            for place, token in enumerate(ids):
                if token == encoder.mask_id:
                    ids[place] = next(tokens)
    return sentences


def _asked(ids: list[int], mask_id: int, random: np.random.Generator) -> list[int]:
    """Return a sentence with one [MASK] or some."""
    count = min(len(ids), int(random.integers(1, MOST_MASKS + 1)))
    masked = set(random.choice(len(ids), count, replace=False).tolist())
    return [mask_id if place in masked else token for place, token in enumerate(ids)]
