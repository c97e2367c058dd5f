"""A model that knows nothing is told from one that does, whatever the size of the gold set."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tiankong.toolkit.building.recipes import Promise
from tiankong.toolkit.engines.predictor import Ranked, Ranking
from tiankong.toolkit.gate.answers import Answers
from tiankong.toolkit.gate.gold import GoldItem, GoldSet, read_gold
from tiankong.toolkit.gate.guessing import _at_least, guessing
from tiankong.toolkit.gate.judging import check

if TYPE_CHECKING:
    from tiankong.toolkit.gate.examination import Asked, Exam

VOCABULARY = [chr(0x4E00 + n) for n in range(7000)]
COMMON = "的一是不了"


def gold_of(answers: Sequence[str]) -> GoldSet:
    items = [GoldItem(f"g{n}", "all", f"{n}[MASK]", answer) for n, answer in enumerate(answers)]
    return GoldSet("made", "0", tuple(items))


def ranking(tokens: Sequence[str]) -> Ranking:
    return [Ranked(token, 0.5 / (place + 2)) for place, token in enumerate(tokens)]


def given(tops: Sequence[Sequence[str]], probed: Sequence[Sequence[str]] = ()) -> Answers:
    rankings = {f"g{n}": ranking(top) for n, top in enumerate(tops)}
    probes: Mapping[str, Sequence[Ranking]] = {
        f"probe-{n}": [ranking(top)] for n, top in enumerate(probed)
    }
    return Answers("mine", "d", "0", rankings, probes, len(VOCABULARY))


def at_random(dice: random.Random, many: int) -> list[list[str]]:
    return [dice.sample(VOCABULARY, 5) for _ in range(many)]


def knowing(dice: random.Random, answers: Sequence[str], share: float) -> list[list[str]]:
    """Top-5s that hold the answer to a share of the items, first in half of these."""
    tops = at_random(dice, len(answers))
    for top, answer in zip(tops, answers, strict=True):
        if dice.random() < share:
            top[dice.choice((0, 0, 1, 2, 3, 4))] = answer
    return tops


@pytest.mark.parametrize("many", [12, 40, 365])
@pytest.mark.parametrize("seed", range(5))
def test_random_answers_are_at_chance(many: int, seed: int) -> None:
    dice = random.Random(seed)
    gold = gold_of(dice.choices(VOCABULARY, k=many))
    assert guessing(given(at_random(dice, many)), gold).at_chance


@pytest.mark.parametrize("many", [30, 100, 365])
def test_one_constant_answer_is_at_chance_however_often_it_hits(many: int) -> None:
    dice = random.Random(7)
    gold = gold_of([dice.choice(COMMON) if n % 2 else VOCABULARY[n] for n in range(many)])
    found = guessing(given([list(COMMON)] * many), gold)
    assert found.at_chance
    assert found.hit_at_5 > 0.4


@pytest.mark.parametrize("many", [1, 2, 3, 5, 8, 11, 20, 50, 365])
@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_knows_is_not_accused(many: int, share: float, seed: int) -> None:
    dice = random.Random(seed)
    answers = dice.choices(VOCABULARY, k=many)
    assert not guessing(given(knowing(dice, answers, share)), gold_of(answers)).at_chance


def test_a_few_items_are_no_proof_of_ignorance() -> None:
    """A real model may miss all of a few hard items."""
    dice = random.Random(1)
    for many in range(1, 12):
        gold = gold_of(VOCABULARY[:many])
        assert not guessing(given(at_random(dice, many)), gold).at_chance


@pytest.mark.parametrize("many", [3, 12, 60])
def test_a_gold_set_of_one_word_accuses_nobody_who_answers_it(many: int) -> None:
    """Whoever always gives the word scores the same, and nothing tells them apart."""
    assert not guessing(given([list("的一是不了")] * many), gold_of(["的"] * many)).at_chance


def test_particles_in_the_right_places_are_known_by_their_order() -> None:
    """All five words stand in every top-5; only the first tells that the model knows."""
    answers = list("的一是不了" * 8)
    tops = [[answer, *(word for word in COMMON if word != answer)] for answer in answers]
    tops[3] = list("了不是一的")
    assert not guessing(given(tops), gold_of(answers)).at_chance


def test_worse_than_a_constant_answer() -> None:
    """It hits a tenth of a set of which the most frequent word alone would hit a half."""
    dice = random.Random(2)
    answers = ["的" if n % 2 else VOCABULARY[n] for n in range(300)]
    tops = at_random(dice, 300)
    for n in range(0, 300, 10):
        tops[n][4] = answers[n]
    found = guessing(given(tops), gold_of(answers))
    assert found.at_chance
    assert found.hit_at_5 == pytest.approx(0.5, abs=0.01)


def test_habits_are_seen_in_probe_sentences_too() -> None:
    """Thirteen items have one answer, and the model gives it to any sentence."""
    gold = gold_of([*"的" * 13, *VOCABULARY[10:30]])
    tops = [list(COMMON)] * 33
    assert guessing(given(tops, [list(COMMON)] * 20), gold).at_chance


def test_the_probability_of_so_many_hits() -> None:
    exact = sum(math.comb(20, k) * 0.1**k * 0.9 ** (20 - k) for k in range(4, 21))
    assert _at_least(4, [0.1] * 20) == pytest.approx(exact)
    assert _at_least(0, [0.3]) == 1.0
    assert _at_least(2, [1.0, 0.25]) == pytest.approx(0.25)


def test_the_built_in_model_knows_whatever_the_items(reference_asked: tuple[Exam, Asked]) -> None:
    exam, asked = reference_asked
    answers, items, dice = asked.answers, exam.gold.items, random.Random(3)
    assert not guessing(answers, exam.gold).at_chance
    for many in (1, 2, 3, 5, 12, 20, 30):
        for _ in range(20):
            some = GoldSet("some", "1", tuple(dice.sample(items, many)))
            assert not guessing(answers, some).at_chance


def test_a_random_head_is_said_to_know_nothing(reference_asked: tuple[Exam, Asked]) -> None:
    """Its variants agree with it: every promise is kept, and yet nothing is recommended."""
    exam, asked = reference_asked
    gold = read_gold()
    tops = at_random(random.Random(4), len(gold.items))
    answers = replace(
        asked.answers,
        rankings={item.id: ranking(top) for item, top in zip(gold.items, tops, strict=True)},
        probes={},
    )
    result = check(answers, answers, gold, Promise(1.0, 1.0))
    assert result.passed
    (warning,) = result.warnings
    assert warning.startswith("hit@5 is 0.0%, guessing would give ")
    data = result.as_json()
    assert data["warnings"] == [warning]
    assert data["guessing"]["at_chance"] is True
    knows = check(asked.answers, asked.answers, exam.gold, Promise(1.0))
    assert (knows.warnings, knows.as_json()["guessing"]["at_chance"]) == ([], False)
    unlike = check(
        asked.answers,
        replace(
            asked.answers, rankings=dict.fromkeys(asked.answers.rankings, ranking(VOCABULARY[:5]))
        ),
        exam.gold,
        Promise(),
    )
    assert unlike.warnings  # held to a reference that knows nothing
