"""What is steady noise, and what is a drift."""

from __future__ import annotations

import numpy as np
from cells import changed
from sound_cell import CELL, closed_loop, found, thirds

from tiankong.toolkit.runs.cell import Cell


def noisy_closed(seed: int, drift: float = 0.0) -> Cell:
    """Simulate 4 users, 40 ms with 30 % noise, 16 s; the last third is slower by ``drift``."""
    source = np.random.default_rng(seed)

    def latency(seconds: float) -> float:
        slow = 1 + drift if seconds > 16 * 2 / 3 else 1.0
        return float(40 * slow * np.exp(source.normal(0, 0.3)))

    return closed_loop(4, 16.0, latency)


def noisy_open(seed: int, surge: float = 1.0) -> Cell:
    """Simulate Poisson arrivals, 40 a second for 30 s; ``surge``: times as many in the last 10."""
    source = np.random.default_rng(seed)
    due = np.concatenate(
        [
            source.uniform(begin, begin + 10_000, source.poisson(400 * times))
            for begin, times in ((0, 1.0), (10_000, 1.0), (20_000, surge))
        ]
    )
    latencies = 40 * np.exp(source.normal(0, 0.3, len(due)))
    order = np.argsort(due + latencies)
    return changed(
        CELL, users=0, rate=40.0, seconds=30.0,
        latencies_ms=tuple(latencies[order].tolist()),
        ends_ms=tuple((due + latencies)[order].tolist()),
    )  # fmt: skip


def unstable(cells: list[Cell]) -> int:
    return sum(bool(found(cell, "unstable")) for cell in cells)


def test_steady_noise_is_not_called_unstable() -> None:
    assert unstable([noisy_closed(seed) for seed in range(60)]) == 0


def test_poisson_arrivals_are_not_called_unstable() -> None:
    assert unstable([noisy_open(seed) for seed in range(200)]) <= 4


def test_a_drift_by_a_quarter_is_unstable() -> None:
    assert unstable([noisy_closed(seed, drift=0.25) for seed in range(20)]) == 20


def test_half_as_many_arrivals_again_are_unstable() -> None:
    assert unstable([noisy_open(seed, surge=1.5) for seed in range(50)]) >= 49


def test_what_was_unstable_is_told_by_thirds() -> None:
    rates = changed(CELL, **thirds((300, 300, 450), (10.0, 10.0, 10.0)))
    tails = changed(CELL, **thirds((300, 300, 300), (10.0, 10.0, 20.0)))
    assert found(rates, "unstable")[0].seen == "QPS in thirds of the window: 100, 100, 150"
    assert found(tails, "unstable")[0].seen == "P95 in thirds of the window: 10, 10, 20 ms"


def test_late_answers_of_an_open_loop_belong_to_when_they_were_asked() -> None:
    due = np.linspace(0, 8999, 900)
    latencies = np.where((due > 2000) & (due < 3000), 1100.0, 10.0)  # answered in the next third
    cell = changed(
        CELL, users=0, rate=100.0, seconds=9.0,
        latencies_ms=tuple(latencies.tolist()), ends_ms=tuple((due + latencies).tolist()),
    )  # fmt: skip
    assert "QPS" not in "".join(warn.seen for warn in found(cell, "unstable"))


def test_a_handful_of_answers_says_nothing_about_steadiness() -> None:
    few = changed(CELL, **thirds((1, 19, 39), (10.0, 10.0, 10.0)))
    enough = changed(CELL, **thirds((1, 19, 40), (10.0, 10.0, 10.0)))
    assert (found(few, "unstable"), len(found(enough, "unstable"))) == ([], 1)


def test_a_third_without_an_answer_is_unstable() -> None:
    assert found(changed(CELL, **thirds((300, 300, 0), (10.0, 10.0, 10.0))), "unstable")


def test_old_cells_without_completion_times_are_not_asked() -> None:
    cell = changed(CELL, **thirds((300, 300, 900), (10.0, 10.0, 10.0)))
    assert found(cell, "unstable")
    assert found(changed(cell, ends_ms=()), "unstable") == []
