"""Ranges, shifts and factors are those with the least error, and no more than that asks for."""

from __future__ import annotations

import numpy as np
import pytest

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs.grids import (
    Change,
    Observed,
    best_change,
    centred,
    chosen_range,
    divided,
    error_of,
    rounded,
    unchanged,
    whole,
)

RANDOM = np.random.default_rng(0)


def observed(rows: np.ndarray) -> Observed:
    values = np.float32(rows)
    return Observed(values, values.min(axis=0), values.max(axis=0), len(rows))


def ordinary() -> tuple[np.ndarray, np.ndarray]:
    """Return an activation of 400 x 64 and a weight that reads it."""
    rows, weight = RANDOM.normal(size=(400, 64)), RANDOM.normal(size=(64, 32))
    return np.float32(rows), np.float32(weight)


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_a_range_that_is_none_is_refused(bounds: tuple[float, float]) -> None:
    with pytest.raises(UnusableInputError, match="activation x has the range"):
        whole("x", observed(np.array([bounds]).T))


def test_zero_is_one_of_the_values() -> None:
    span = whole("x", observed(np.array([[3.0], [5.0]])))
    assert span.low == 0
    assert span.applied(np.zeros((1, 1), np.float32)) == 0


def test_an_ordinary_activation_keeps_its_whole_range_and_its_channels() -> None:
    rows, weight = ordinary()
    seen = observed(rows)
    assert chosen_range("x", seen, weight)[0] == whole("x", seen)
    assert not any(change.scales for change in divided(seen, weight, unchanged(seen)))


def test_one_far_value_is_clipped_if_that_pays() -> None:
    rows, weight = ordinary()
    rows[7, 3] = 8.0
    weight[3] = 1e-3  # nothing reads it
    seen = observed(rows)
    span, error = chosen_range("x", seen, weight)
    assert span.high < 6
    assert error < 0.7 * error_of("x", seen, weight, unchanged(seen))


def test_a_channel_far_from_zero_is_shifted() -> None:
    rows, weight = ordinary()
    rows[:, 5] += 50
    seen = observed(rows)
    change = best_change("x", seen, weight, [unchanged(seen), centred(seen)])
    assert 49 < change.shift[5] < 51
    assert error_of("x", seen, weight, change) < 0.1 * error_of("x", seen, weight, unchanged(seen))


def test_only_a_channel_out_of_line_is_divided() -> None:
    rows, weight = ordinary()
    rows[:, 9] *= 60
    weight[9] /= 60
    seen = observed(rows)
    changes = [unchanged(seen), *divided(seen, weight, unchanged(seen))]
    change = best_change("x", seen, weight, changes)
    assert [place for place, factor in enumerate(change.factors) if factor != 1] == [9]
    assert change.factors[9] > 5
    assert error_of("x", seen, weight, change) < 0.1 * error_of("x", seen, weight, changes[0])


def test_a_change_is_what_it_says() -> None:
    change = Change(np.float32([1, 0]), np.float32([2, 1]))
    changed = observed(np.array([[3, 4], [5, 6]])).changed(change)
    assert changed.rows.tolist() == [[1, 4], [2, 6]]
    assert (changed.low.tolist(), changed.high.tolist()) == ([1, 4], [2, 6])


def test_large_weights_of_channels_that_are_never_large_are_clipped() -> None:
    _, weight = ordinary()
    weight[0] = 40
    importance = np.ones(64, np.float32)
    importance[0] = 1e-6
    values, scale = rounded(weight, 1, importance)
    _, plain = rounded(weight, 1)
    assert (scale < 0.6 * plain).all()
    assert (values[0] == 127).all()


def test_weights_are_rounded_a_channel_and_zeros_stay() -> None:
    weight = np.float32([[1, 1000, 0], [-0.5, 254, 0]])
    values, scale = rounded(weight, axis=1)
    assert values[:, 0].tolist() == [127, -64]
    assert values[:, 1].tolist() == [127, 32]
    assert values[:, 2].tolist() == [0, 0]
    assert np.allclose(values * scale, weight, atol=[0.004, 4, 0])
