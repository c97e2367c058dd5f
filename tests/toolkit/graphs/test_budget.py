"""As few products as will do stay in float32, and none where none has to."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from tiankong.toolkit.graphs.budget import Precision, divergence, settle

DAMAGE = {f"p{number}": damage for number, damage in enumerate([1, 50, 2, 3, 20, 1, 1, 1])}
SHARES = dict.fromkeys(DAMAGE, 1 / len(DAMAGE))


def far(kept: Collection[str]) -> float:
    return sum(damage for name, damage in DAMAGE.items() if name not in kept) / 1000


@pytest.mark.parametrize("noises", [DAMAGE, dict.fromkeys(DAMAGE, 1.0)])
@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (None, set()),
        (0.1, set()),
        (0.05, {"p1"}),
        (0.01, {"p1", "p4"}),
        (0.007, {"p1", "p4", "p3"}),
        (0.0, set(DAMAGE)),
    ],
)
def test_what_does_most_damage_is_kept(
    noises: dict[str, float], budget: float | None, kept: set[str]
) -> None:
    found = settle(noises, SHARES, budget, far)
    assert set(found.kept) == kept
    assert found.divergence == far(kept)
    assert found.plain == far(())
    assert found.within
    assert found.kept == {name: 1 / len(DAMAGE) for name in kept}


def test_what_a_manifest_says() -> None:
    assert Precision(0.00123456, 0.00123456).as_json() == {"divergence": 0.00123}
    assert Precision(0.002, 0.01, 0.003, {"p": 0.123456}, 2).as_json() == {
        "divergence": 0.002, "budget": 0.003, "within_budget": True, "all_in_8_bits": 0.01,
        "float32": {"p": 0.1235}, "multiplications_added": 2,
    }  # fmt: skip
    assert not Precision(0.002, 0.002, 0.001).within


def test_divergence_is_that_of_the_distributions() -> None:
    logits = np.log(np.float32([[0.5, 0.25, 0.25]]))
    assert divergence(logits + 3, logits) == pytest.approx(0, abs=1e-6)
    other = np.log(np.float32([[0.25, 0.5, 0.25]]))
    assert divergence(other, logits) == pytest.approx(0.25 * np.log(2), rel=1e-4)
