"""When an answer under load is the same as without load; stored answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.toolkit.engines.predictor import Ranked, Ranking
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.answers import Answers, clearest, load, same_answer, save
from tiankong.toolkit.gate.gold import GoldItem, GoldSet

SCORES = (0.6, 0.1, 0.09995, 0.05, 0.04, 0.03999)
EXPECTED = [Ranked(*entry) for entry in zip("abcdef", SCORES, strict=True)]


def answer(order: str) -> Ranking:
    return [Ranked(token, 0.1) for token in order]


@pytest.mark.parametrize("order", ["abcde", "a", "abcdef", "acbde", "abcdf"])
def test_right(order: str) -> None:
    assert same_answer(EXPECTED, answer(order))


@pytest.mark.parametrize(
    "order",
    ["bacde", "abdce", "abced", "abcdx", "", "aaaaa", "abbde", "abcdefg", "edcba", "abcde" * 2],
)
def test_wrong(order: str) -> None:
    assert not same_answer(EXPECTED, answer(order))


def test_ties_end_at_a_thousandth() -> None:
    assert same_answer([Ranked("a", 0.5), Ranked("b", 0.4996)], answer("ba"))
    assert not same_answer([Ranked("a", 0.5), Ranked("b", 0.4994)], answer("ba"))


def test_equal_small_probabilities_may_swap_but_not_with_large_ones() -> None:
    expected = [Ranked("a", 0.9), Ranked("b", 1e-6), Ranked("c", 1e-6)]
    assert same_answer(expected, answer("acb"))
    assert not same_answer(expected, answer("bac"))


GOLD = GoldSet("g.jsonl", "ab" * 32, (GoldItem("g1", "c", "[MASK]", "甲"),))


def test_answers_are_kept_by_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    answers = Answers(
        "v", "cd" * 32, GOLD.digest, {"g1": [Ranked("甲", 0.1 + 0.2), Ranked("乙", 1e-9)]}
    )
    with pytest.raises(UnusableInputError, match=r"run 'tiankong check --variants v' first"):
        load("v", answers.digest, GOLD)
    save(answers)
    assert load("v", answers.digest, GOLD) == answers
    with pytest.raises(UnusableInputError):
        load("v", "ef" * 32, GOLD)


def test_the_clearest_answer_is_the_one_with_the_widest_gap() -> None:
    items = tuple(GoldItem(name, "idiom", f"{name}[MASK]", "甲") for name in "abc")
    gold = GoldSet("mine", "ab" * 32, items)
    rankings = {
        "a": [Ranked("甲", 0.9), Ranked("乙", 0.4)],
        "b": [Ranked("丙", 0.7), *(Ranked(token, 0.01) for token in "丁戊己庚辛")],
        "c": [Ranked("甲", 0.5), Ranked("乙", 0.4)],
    }
    question = clearest(Answers("v", "cd" * 32, gold.digest, rankings), gold)
    assert question["text"] == "b[MASK]"
    assert [result["token"] for result in question["results"]] == list("丙丁戊己庚")
    assert question["results"][0]["score"] == 0.7
