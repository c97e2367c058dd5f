from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest

from tiankong.bench.load.job import Job, arrivals
from tiankong.bench.load.target import Target

# Lists, not tuples: that is what JSON returns.
RANKING: Any = [["上", 0.9], ["下", 0.05]]
OTHER: Any = [["下", 0.8], ["上", 0.1]]
JOB = Job(
    targets=[Target("http://a"), Target("http://b"), Target("http://c")],
    sentences=["一[MASK]", "二[MASK]", "三[MASK]"],
    expected=[RANKING, RANKING, RANKING],
    others={1: [OTHER, OTHER, OTHER]},
)


def test_sentences_are_sent_in_order_over_and_over() -> None:
    assert list(islice(JOB.requests(), 7)) == [[0], [1], [2], [0], [1], [2], [0]]


def test_a_generator_may_begin_elsewhere() -> None:
    assert list(islice(JOB.requests(first=2), 3)) == [[2], [0], [1]]


def test_a_batch_goes_on_where_the_last_one_ended_and_wraps_around() -> None:
    requests = replace(JOB, batch=2).requests()
    assert list(islice(requests, 4)) == [[0, 1], [2, 0], [1, 2], [0, 1]]


def test_a_batch_may_be_longer_than_the_sentences() -> None:
    assert next(replace(JOB, batch=7).requests()) == [0, 1, 2, 0, 1, 2, 0]


def test_every_sentence_is_asked_equally_often_in_batches() -> None:
    asked = [place for places in islice(replace(JOB, batch=2).requests(), 9) for place in places]
    assert [asked.count(place) for place in range(3)] == [6, 6, 6]


def test_a_target_has_right_answers_of_its_own() -> None:
    assert JOB.right(0, [2]) == [RANKING]
    assert JOB.right(1, [0, 1]) == [OTHER, OTHER]
    assert JOB.right(2, [0]) == [RANKING]


def test_right_answers_are_those_of_the_places_asked() -> None:
    rankings: Any = [[["一", 1.0]], [["二", 1.0]], [["三", 1.0]]]
    job = replace(JOB, expected=rankings)
    assert job.right(0, [2, 0]) == [rankings[2], rankings[0]]


def test_without_right_answers_nothing_is_checked() -> None:
    assert replace(JOB, expected=(), others={}).right(0, [0]) == []


def test_a_job_comes_back_from_a_file_with_the_numbers_of_targets() -> None:
    blocks: Any = [[0, 0.5], [1, 0.3]]
    job = replace(
        JOB, users=4, rate=20.5, batch=8, warmup_seconds=1.5, seconds=9.0, drain_seconds=3.0,
        seed=7, blocks=blocks,
    )  # fmt: skip
    again = Job.from_json(json.loads(json.dumps(job.as_json(), ensure_ascii=False)))
    assert again == job
    assert list(again.others) == [1]
    assert again.right(1, [0]) == [OTHER]


def test_a_job_of_defaults_comes_back() -> None:
    again = Job.from_json(json.loads(json.dumps(Job([Target("http://a")], ["[MASK]"]).as_json())))
    assert (again.rate, again.others, list(again.blocks), again.users) == (None, {}, [], 1)


def gaps(rate: float, seed: int, count: int) -> np.ndarray:
    times = [0.0, *islice(arrivals(rate, seed), count)]
    return np.array([later - earlier for earlier, later in pairwise(times)])


@pytest.mark.parametrize("rate", [0.5, 5.0, 200.0])
def test_arrivals_have_the_mean_and_spread_of_a_poisson_process(rate: float) -> None:
    intervals = gaps(rate, seed=3, count=20_000)
    assert intervals.mean() * rate == pytest.approx(1.0, abs=0.03)
    assert intervals.std() * rate == pytest.approx(1.0, abs=0.04)
    assert np.median(intervals) * rate == pytest.approx(np.log(2), abs=0.03)
    assert intervals.min() >= 0
    assert abs(np.corrcoef(intervals[:-1], intervals[1:])[0, 1]) < 0.03  # no memory


def test_arrivals_are_the_seeds() -> None:
    assert list(gaps(5.0, 1, 50)) == list(gaps(5.0, 1, 50))
    assert list(gaps(5.0, 1, 50)) != list(gaps(5.0, 2, 50))


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_no_rate_no_arrivals(rate: float) -> None:
    with pytest.raises(ValueError, match="arrivals a second"):
        next(arrivals(rate, 1))
