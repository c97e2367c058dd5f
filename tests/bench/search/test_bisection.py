from __future__ import annotations

import pytest

from tiankong.bench.search.bisection import FINE, Bracket, highest

MOST = 1024


class Server:
    """Holds every load up to its threshold; remembers what it was asked."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.asked: list[float] = []

    def __call__(self, load: float) -> bool:
        assert len(self.asked) < 200, "the search does not end"
        self.asked.append(load)
        return load <= self.threshold


@pytest.mark.parametrize("first", [1, 2, 3, 7, 16, 100])
def test_whole_loads_are_found_within_a_step_or_the_fineness(first: int) -> None:
    for threshold in range(1, 400):
        server = Server(threshold)
        found = highest(server, first, MOST, whole=True)
        assert found.held is not None
        assert found.failed is not None
        assert found.held <= threshold < found.failed
        assert found.failed - found.held <= max(1, FINE * found.held)
        assert {type(load) for load in server.asked} == {int}
        assert len(server.asked) == len(set(server.asked))


def test_small_whole_loads_are_found_exactly() -> None:
    for threshold in range(1, 20):
        assert highest(Server(threshold), 1, MOST, whole=True) == Bracket(threshold, threshold + 1)


@pytest.mark.parametrize("first", [0.5, 8.0, 33.3])
def test_rates_are_found_within_the_fineness(first: float) -> None:
    for step in range(300):
        threshold = first / 60 * 1.03**step
        if threshold >= MOST:
            break
        found = highest(Server(threshold), first, MOST, whole=False)
        assert found.held is not None
        assert found.failed is not None
        assert found.held <= threshold < found.failed
        assert found.failed - found.held <= FINE * found.held


@pytest.mark.parametrize("fine", [0.5, 0.01])
def test_the_fineness_can_be_chosen(fine: float) -> None:
    server = Server(123.4)
    found = highest(server, 8.0, MOST, whole=False, fine=fine)
    assert found.held is not None
    assert found.failed is not None
    assert found.failed - found.held <= fine * found.held
    assert len(server.asked) < 6 + 2 / fine**0.5


@pytest.mark.parametrize("first", [1, 2, 37, 64])
def test_whole_loads_of_which_none_holds_end_at_one(first: int) -> None:
    server = Server(0)
    assert highest(server, first, MOST, whole=True) == Bracket(None, 1)
    assert server.asked[-1] == 1
    assert len(server.asked) <= 8


@pytest.mark.parametrize("first", [0.5, 8.0, 33.3])
def test_rates_of_which_none_holds_end_at_a_64th(first: float) -> None:
    server = Server(0)
    assert highest(server, first, MOST, whole=False) == Bracket(None, first / 64)
    assert len(server.asked) == 7


@pytest.mark.parametrize(("first", "whole"), [(1, True), (3, True), (8.0, False), (1024, True)])
def test_what_never_fails_is_asked_up_to_the_most(first: float, whole: bool) -> None:
    server = Server(10 * MOST)
    assert highest(server, first, MOST, whole) == Bracket(MOST, None)
    assert max(server.asked) == MOST


@pytest.mark.parametrize("most", [5, 100, 1000])
def test_the_most_is_never_exceeded(most: int) -> None:
    for threshold in range(1, most):
        server = Server(threshold)
        found = highest(server, 1, most, whole=True)
        assert max(server.asked) <= most
        assert found.held is not None
        assert found.held <= threshold


def test_doubling_then_bisecting_asks_little() -> None:
    servers = [Server(threshold) for threshold in range(1, MOST)]
    for server in servers:
        highest(server, 1, MOST, whole=True)
    assert max(len(server.asked) for server in servers) <= 16
