"""Divergence of a variant's probabilities from the reference's."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from tiankong.toolkit.engines.outputs import DEPTH
from tiankong.toolkit.gate import fidelity
from tiankong.toolkit.gate.fidelity import divergence, no_distribution

NAMES = [str(number) for number in range(400)]


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(fidelity).attempted == 2
    assert doctest.testmod(fidelity).failed == 0


def ranked(probabilities: np.ndarray) -> list[tuple[str, float]]:
    best = np.argsort(-probabilities)[:DEPTH]
    return [(NAMES[i], float(probabilities[i])) for i in best]


@pytest.mark.parametrize("noise", [0.01, 0.1, 1.0])
def test_it_is_a_lower_bound_close_to_the_whole_divergence(noise: float) -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        logits = random.normal(size=400) * 3
        p = np.exp(logits) / np.exp(logits).sum()
        moved = logits + random.normal(size=400) * noise
        q = np.exp(moved) / np.exp(moved).sum()
        whole = float((p * np.log(p / q)).sum())
        assert 0.5 * whole <= divergence(ranked(q), ranked(p)) <= whole + 1e-12


def test_other_tokens_altogether_diverge() -> None:
    assert divergence([("b", 0.9), ("c", 0.05)], [("a", 0.9), ("d", 0.05)]) > 2


def test_the_mean_and_whose_the_worst_is() -> None:
    same = [("a", 0.6), ("b", 0.3)]
    result = fidelity.fidelity({"1": same, "2": [("b", 0.6), ("a", 0.3)]}, {"1": same, "2": same})
    assert result.worst_id == "2"
    assert result.mean == pytest.approx(result.worst / 2)


def test_scores_that_are_no_probabilities() -> None:
    assert no_distribution({"x": [("a", 0.7), ("b", 0.3)]}) == ""
    assert "scores of x are no probabilities" in no_distribution({"x": [("a", 1.0), ("b", 1.0)]})
    assert no_distribution({"x": [("a", 0.5), ("b", -0.1)]})
