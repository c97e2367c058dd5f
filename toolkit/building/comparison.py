"""The same sentences asked of one model read in several ways: a difference ends the build."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..engines.predictor import Logits
from ..engines.text import Batch, TextEncoder
from ..errors import UnusableInputError
from ..models.families import family
from ..models.info import LoadedModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOLERANCE = 1e-4  # of the standard deviation of all logits compared
SEED = 17
MASKED = ((0,), (1, 4), (0, 3, 10), (2, 3, 4, 17))  # places of [MASK]; the last is the length
NUMBERS_AT_ONCE = 16_000_000  # logits of all tokens of a batch: 64 MB in float32
IN_MEMORY = "the network in memory"
NOT_COMPARED = "not compared with plain transformers"

Ask = Callable[[Batch], Logits]


@dataclass(frozen=True)
class ProbeAnswers:
    """The logits of one network at every [MASK] of some batches."""

    model: str
    batches: Sequence[Batch]
    logits: Sequence[Logits]

    @classmethod
    def of(cls, loaded: LoadedModel) -> ProbeAnswers:
        """Ask a loaded model's network the probes of its vocabulary."""
        from ..engines.torch_engine import logits_of

        sizes, inputs = loaded.info, family(loaded.config).inputs
        batches = probes(loaded.tokenizer, sizes.positions, sizes.vocabulary)
        logits = [logits_of(loaded.network, batch, inputs) for batch in batches]
        return cls(loaded.info.name, batches, logits)

    def require_same(self, other: str, ask: Ask) -> None:
        """Raise UnusableInputError unless ``other``, asked the same, gives the same logits."""
        ours = np.concatenate(self.logits)
        theirs = np.concatenate([ask(batch) for batch in self.batches])
        spread = float(ours.std())
        largest = float(np.abs(ours - theirs).max())
        if not largest <= TOLERANCE * spread:  # also where it is no number
            raise UnusableInputError(
                f"{self.model}: {IN_MEMORY} and {other} differ: a logit by {largest:.2g}, where"
                f" logits spread by {spread:.2g}; nothing was kept: report it with the model's name"
            )


def probes(tokenizer: Tokenizer, positions: int, vocabulary: int) -> list[Batch]:
    """Return a padded batch of short sentences, some with several masks, and one long sentence.

    The sentences are ids drawn from the tokenizer's, always the same; short models get fewer.
    """
    encoder = TextEncoder(tokenizer, positions)
    ids = sorted(set(tokenizer.get_vocab().values()))
    draw = random.Random(SEED)
    room = positions - tokenizer.num_special_tokens_to_add(False)

    def sentence(masks: Sequence[int], length: int) -> list[int]:
        words = draw.choices(ids, k=length)
        return encoder.framed([encoder.mask_id if i in masks else w for i, w in enumerate(words)])

    short = [sentence(masks, max(masks) + 1) for masks in MASKED if max(masks) < room]
    long = max(1, min(room, NUMBERS_AT_ONCE // vocabulary))
    return [
        encoder.batch(short or [sentence((0,), 1)]),
        encoder.batch([sentence((long // 2,), long)]),
    ]


def compare_with_plain(loaded: LoadedModel, answers: ProbeAnswers) -> str:
    """Compare with what plain transformers loads from the model's folder; return what was done.

    Empty for a model that is read from no folder.  Raises UnusableInputError if they differ.
    """
    if loaded.folder is None:
        return ""
    from ..engines.torch_engine import logits_of
    from ..models.plain import plain_network

    model_family = family(loaded.config)
    plain = plain_network(loaded.folder, model_family)
    if plain.network is None:
        return f"{NOT_COMPARED} ({plain.title}): {plain.why_not}"
    answers.require_same(
        f"plain transformers ({plain.title}, {loaded.folder})",
        partial(logits_of, plain.network, inputs=model_family.inputs),
    )
    return f"answers as plain transformers does ({plain.title})"
