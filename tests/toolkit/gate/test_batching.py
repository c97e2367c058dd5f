"""Whether an answer depends on its batchmates or on padding."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from tiankong.toolkit.building.recipes import Promise
from tiankong.toolkit.engines.outputs import DEPTH, ROUNDING
from tiankong.toolkit.engines.predictor import Answer, Engine, Logits, Predictor, Ranked
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.gate.answers import Answers
from tiankong.toolkit.gate.batching import LONG, SIZES, Batching, ask_in_batches, mixed
from tiankong.toolkit.gate.gold import GoldItem, GoldSet
from tiankong.toolkit.gate.judging import check
from tiankong.toolkit.gate.probes import probes
from tiankong.toolkit.models.builtin import vocabulary

ENCODER = TextEncoder(vocabulary.tokenizer())
STRICT = Promise()
TEXTS = {f"t{n}": "天" * n + "[MASK]" for n in range(40)} | {"two": "[MASK]地[MASK]"}
TEXTS |= {f"again{n}": "地" * n + "[MASK]" for n in range(9)}


class Reading(Engine):
    """An engine whose answers depend on the sentence, with a fault that the test chooses."""

    def __init__(self, kind: str = "") -> None:
        self.kind = kind

    def logits(self, batch: Batch) -> Logits:
        seen = batch.attention_mask if self.kind != "padding" else np.ones_like(batch.input_ids)
        words = (seen * np.arange(batch.input_ids.shape[1])).sum(axis=1)
        if self.kind == "neighbours":
            words = words + 1e-3 * words.max()
        if self.kind == "crowd":
            words = words + 1e-2 * (len(words) - 1)
        logits = np.zeros((len(batch.rows), len(vocabulary.tokens())), np.float32)
        for mask, (row, column) in enumerate(zip(batch.rows, batch.columns, strict=True)):
            scores = np.sin(words[row] + column + np.arange(60))
            logits[mask, 200:260] = 5 * scores
        return logits[::-1] if self.kind == "permuted" else logits


def asked(kind: str, promise: Promise = STRICT) -> Batching:
    predictor = Predictor("mine", ENCODER, Reading(kind))
    alone: dict[str, Answer] = {}
    for name, text in TEXTS.items():
        (alone[name],) = predictor.predict([text], DEPTH)
    return ask_in_batches(predictor, TEXTS, alone, "independent", promise)


def test_an_engine_that_reads_each_row_by_itself() -> None:
    result = asked("")
    assert result.independent
    assert (result.sentences, list(result.differing)) == (len(TEXTS), [])
    assert result.max_delta < 1e-6


@pytest.mark.parametrize("kind", ["padding", "neighbours", "crowd", "permuted"])
def test_one_that_does_not(kind: str) -> None:
    result = asked(kind)
    assert not result.independent
    assert result.differing
    assert result.max_delta > 1e-3


@pytest.mark.parametrize(("kind", "same"), [("padding", True), ("crowd", False)])
def test_whether_sentences_of_one_length_may_meet(kind: str, same: bool) -> None:
    assert asked("").same_length_delta is None
    apart = asked(kind).same_length_delta
    assert apart is not None
    assert (apart < ROUNDING) is same


def test_wider_limits_are_for_engines_that_round() -> None:
    """Both limits count: how far probabilities move, and which near-equal tokens change places."""
    assert asked("neighbours", Promise(batch_delta=1.0, batch_tie=1.0)).independent
    assert not asked("neighbours", Promise(batch_delta=1.0)).independent
    assert not asked("neighbours", Promise(batch_tie=1.0)).independent


def test_every_text_once_and_all_sizes() -> None:
    texts = TEXTS | {f"long{n}": "长" * (LONG + 1) for n in range(2)}
    batches = list(mixed(texts))
    assert Counter(name for batch in batches for name in batch) == Counter(list(texts))
    assert {len(batch) for batch in batches} >= set(SIZES)
    for batch in batches:
        if any(name.startswith("long") for name in batch):
            assert len(batch) == 2
    assert batches == list(mixed(texts))
    assert batches != list(mixed(texts, seed=1))


@pytest.mark.parametrize(("declared", "passes"), [("independent", False), ("dependent", True)])
def test_only_what_is_declared_may_depend(declared: str, passes: bool) -> None:
    gold = GoldSet("g", "0", (GoldItem("a", "c", "[MASK]", "甲"),))
    given = Answers("mine", "d", "0", {"a": [Ranked("甲", 0.9), Ranked("乙", 0.05)]})
    batch = Batching(False, declared, 1, [2], ["a"], 0.5)
    result = check(given, given, gold, Promise(), batch)
    assert result.passed is passes
    assert result.as_json()["batch"] == asdict(batch)


def test_probes_fit_the_model_that_is_asked() -> None:
    long = probes(ENCODER)
    assert max(len(ENCODER.encode(text)) for text in long.values()) == 512
    assert any(text.count("[MASK]") == 8 for text in long.values())
    small = TextEncoder(vocabulary.tokenizer(), max_tokens=40)
    lengths = [len(small.encode(text)) for text in probes(small).values()]
    assert max(lengths) == 40
    assert len(lengths) > 15
