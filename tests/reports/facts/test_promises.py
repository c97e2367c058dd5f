"""What the gate says of a broken promise is understood, whatever was broken."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

from tiankong.reports.facts import promises
from tiankong.reports.facts.promises import SENTENCES, broken_promise
from tiankong.reports.text.language import LANGUAGES, read_language
from tiankong.reports.text.phrases import promise
from tiankong.toolkit.building.recipes import INDEPENDENT, Promise
from tiankong.toolkit.engines.predictor import Ranked, Ranking
from tiankong.toolkit.gate.answers import Answers
from tiankong.toolkit.gate.batching import Batching
from tiankong.toolkit.gate.gold import GoldItem, GoldSet
from tiankong.toolkit.gate.judging import check

ITEMS = tuple(GoldItem(f"g {n}", "all", f"第{n}[MASK]", "甲") for n in range(4))
GOLD = GoldSet("four.jsonl", "0" * 64, ITEMS)
STRICT = Promise(1.0, 1.0, hit_at_5_loss=0.0, max_delta=1e-4, divergence=1e-3,
                 worst_divergence=1e-3, hit_at_5=0.9)  # fmt: skip
BATCH = Batching(False, INDEPENDENT, 4, [2], ["g 1", "g 2"], 0.012)
ELSEWHERE = ["onnx-int8 gives scores that are not numbers",
             "its tokenizer is not pytorch-fp32's: token 'a' has the id 1, not 2"]  # fmt: skip


def given(order: str, first: float = 0.5) -> Answers:
    scores = (first, 0.2, 0.1, 0.05, 0.04, 0.03)
    ranking: Ranking = [Ranked(*entry) for entry in zip(order, scores, strict=True)]
    return Answers("mine", "d", GOLD.digest, {item.id: ranking for item in ITEMS})


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Everything that the gate itself says when every promise is broken."""
    ours, theirs = given("乙丙丁戊己庚", 0.9), given("甲乙丙丁戊己")
    loose = check(ours, theirs, GOLD, STRICT, BATCH).reasons
    ordered = check(ours, theirs, GOLD, replace(STRICT, ordered=True), BATCH).reasons
    return [*dict.fromkeys((*loose, *ordered)), *ELSEWHERE]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(promises) == (0, 1)


def test_every_sentence_of_the_gate_is_understood(sentences: list[str]) -> None:
    assert {broken_promise(sentence).code for sentence in sentences} == set(SENTENCES)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_sentence_is_said_with_its_figures(sentences: list[str], code: str) -> None:
    for sentence in sentences:
        told = promise(sentence, read_language(code))
        values = broken_promise(sentence).values
        assert values is not None
        assert all(value in told for value in values.values())
        if code == "zh":
            assert told != sentence


def test_what_is_not_understood_stays_as_it_is() -> None:
    sentence = "not what bert-base-chinese answers: 上"
    assert promise(sentence, read_language("zh")) == sentence
