from __future__ import annotations

import json
from typing import Any

import pytest

from tiankong.bench.load.keep_alive import StatusError
from tiankong.bench.load.recorder import Recorder, Result, merged, reason, wrong_answer

RIGHT = [("上", 0.9), ("下", 0.05), ("中", 0.02), ("里", 0.01), ("外", 0.005), ("前", 0.001)]
OTHER = [("天", 0.8), ("地", 0.1), ("人", 0.05), ("大", 0.02), ("小", 0.01), ("中", 0.001)]


def recorded(*results: Result) -> Recorder:
    recorder = Recorder()
    for result in results:
        recorder.begin(result.due)
        recorder.finish(result)
    return recorder


def test_a_closed_loops_window_has_what_ended_in_it() -> None:
    recorder = recorded(
        Result(8.0, 8.0, 9.999),  # ended before
        Result(9.0, 9.0, 10.0),  # ended just as it was opened
        Result(10.0, 10.0, 10.5),
        Result(11.0, 11.0, 11.999),
        Result(11.5, 11.5, 12.0),  # ended just as it was closed
    )
    window = recorder.window(10.0, 12.0, is_open_loop=False)
    assert window["seconds"] == 2.0
    assert window["latencies_ms"] == [1000.0, 500.0, 999.0]
    assert window["ends_ms"] == [0.0, 500.0, 1999.0]
    assert window["late_ms"] == []


def test_an_open_loops_window_has_what_was_due_in_it_whenever_it_was_answered() -> None:
    recorder = recorded(
        Result(9.999, 10.1, 11.0),  # due before
        Result(10.0, 10.25, 10.5),
        Result(11.9, 12.5, 14.0),  # answered long after
        Result(12.0, 12.0, 12.1),  # due just as it was closed
    )
    window = recorder.window(10.0, 12.0, is_open_loop=True)
    assert window["latencies_ms"] == [500.0, 2100.0]  # from the intended start, not from sending
    assert window["late_ms"] == [250.0, 600.0]
    assert window["ends_ms"] == [500.0, 4000.0]


def test_errors_are_counted_by_kind_and_wrong_answers_by_themselves() -> None:
    class ResponseError(Exception):
        status_code = 503

    errors: list[BaseException | None] = [
        ResponseError("busy"),
        ResponseError("busy"),
        TimeoutError("late"),
        None,
        None,
    ]
    recorder = recorded(*(Result(n, n, n + 0.5, error) for n, error in enumerate(errors)))
    window = recorder.window(0.0, 10.0, False, lambda result: "上, not 下" * (result.due == 3))
    assert window["failures"] == {"HTTP 503": 2, "TimeoutError": 1}
    assert window["wrong"] == 1
    assert window["latencies_ms"] == [500.0]
    assert window["examples"] == ["busy", "busy", "late"]


def test_errors_outside_the_window_do_not_count() -> None:
    recorder = recorded(Result(1.0, 1.0, 2.0, TimeoutError()), Result(3.0, 3.0, 4.0))
    window = recorder.window(3.0, 5.0, is_open_loop=False)
    assert (window["failures"], window["wrong"], window["examples"]) == ({}, 0, [])


def test_examples_are_few_and_short() -> None:
    recorder = recorded(*(Result(n, n, n) for n in range(9)))
    window = recorder.window(0.0, 10.0, False, lambda _: "错" * 1000)
    assert window["wrong"] == 9
    assert [len(example) for example in window["examples"]] == [300] * 3


def test_what_was_due_in_the_window_and_has_no_answer_is_missing() -> None:
    recorder = Recorder()
    for due in (9.9, 10.0, 11.0, 12.0):
        recorder.begin(due)
    assert recorder.missing(10.0, 12.0) == 2
    recorder.finish(Result(11.0, 11.0, 13.0))
    assert recorder.missing(10.0, 12.0) == 1
    recorder.finish(Result(10.0, 10.0, 13.0, TimeoutError()))
    assert recorder.missing(10.0, 12.0) == 0
    assert recorder.waiting == {9.9, 12.0}


def test_the_kind_of_a_failure() -> None:
    assert reason(StatusError(429)) == "HTTP 429"
    assert reason(ConnectionRefusedError()) == "ConnectionRefusedError"


def answer(*rankings: list[tuple[str, float]], top: int = 5) -> Any:
    """Return the body of one answer, or of a batch."""
    bodies = [
        {"results": [{"token": token, "score": score} for token, score in ranking[:top]]}
        for ranking in rankings
    ]
    return {"predictions": bodies} if len(rankings) > 1 else bodies[0]


def judged(body: Any, *expected: list[tuple[str, float]]) -> str:
    return wrong_answer("句[MASK]", json.dumps(body), expected or [RIGHT])


def test_the_right_answer_to_one_sentence() -> None:
    assert judged(answer(RIGHT)) == ""


def test_right_answers_to_a_batch() -> None:
    assert judged(answer(RIGHT, OTHER), RIGHT, OTHER) == ""
    assert judged({"predictions": [answer(RIGHT)]}) == ""


def test_another_order_is_wrong_and_shown() -> None:
    swapped = [RIGHT[1], RIGHT[0], *RIGHT[2:]]
    assert judged(answer(swapped)) == "句[MASK]: 下上中里外, not 上下中里外"


def test_a_tie_may_stand_in_another_order_the_fifth_and_sixth_too() -> None:
    tied = [*RIGHT[:4], ("外", 0.005), ("前", 0.0049999)]
    assert judged(answer([*RIGHT[:4], ("前", 0.005)]), tied) == ""
    assert judged(answer([*RIGHT[:4], ("前", 0.005)]), RIGHT) != ""


@pytest.mark.parametrize("top", [0, 4, 6])
def test_more_or_fewer_than_five_are_wrong(top: int) -> None:
    assert "not 上下中里外" in judged(answer(RIGHT, top=top))


def test_one_wrong_answer_of_a_batch_is_wrong() -> None:
    assert judged(answer(RIGHT, RIGHT), RIGHT, OTHER) == "句[MASK]: 上下中里外, not 天地人大小"


def test_answers_of_a_batch_in_another_order_are_wrong() -> None:
    assert judged(answer(OTHER, RIGHT), RIGHT, OTHER) != ""


@pytest.mark.parametrize(
    ("body", "expected", "counts"),
    [
        (answer(RIGHT), 2, "1 answers to 2 sentences"),
        (answer(RIGHT, RIGHT), 1, "2 answers to 1 sentences"),
        ({"predictions": []}, 1, "0 answers to 1 sentences"),
    ],
)
def test_another_number_of_answers_is_wrong(body: Any, expected: int, counts: str) -> None:
    assert counts in judged(body, *[RIGHT] * expected)


@pytest.mark.parametrize(
    "body",
    [
        "", "<html>", "[]", "[1, 2]", "null", "5", '"上"', "{}", '{"results": null}',
        '{"results": 5}', '{"results": ["上"]}', '{"results": [{"token": "上"}]}',
        '{"results": [{"score": 1}]}', '{"predictions": null}', '{"predictions": 5}',
        '{"predictions": {"results": []}}', '{"predictions": [5]}', '{"predictions": "上"}',
        '{"error": {"code": "busy"}}',
    ],
)  # fmt: skip
def test_garbage_is_a_wrong_answer_and_no_crash(body: str) -> None:
    assert wrong_answer("句[MASK]", body, [RIGHT]).startswith("句[MASK]: not an answer (")


@pytest.mark.parametrize("token", [5, None, ["上"], {"上": 1}, True])
def test_a_token_that_is_no_text_is_wrong_and_no_crash(token: Any) -> None:
    body = {"results": [{"token": token, "score": 0.1}] * 5}
    assert "not 上下中里外" in judged(body)


def part(**changes: Any) -> dict[str, Any]:
    """Return one generator's samples."""
    return {
        "seconds": 2.0, "latencies_ms": [], "ends_ms": [], "late_ms": [], "failures": {},
        "wrong": 0, "examples": [], "core_percent": 10.0, "wait_percent": 1.0, "heartbeat_ms": 0.5,
    } | changes  # fmt: skip


def test_samples_of_several_generators_come_in_order_of_completion() -> None:
    together = merged(
        [
            part(ends_ms=[10.0, 30.0], latencies_ms=[1.0, 3.0], late_ms=[0.1, 0.3]),
            part(ends_ms=[5.0, 20.0, 40.0], latencies_ms=[0.5, 2.0, 4.0], late_ms=[0.0, 0.2, 0.4]),
        ]
    )
    assert together["ends_ms"] == [5.0, 10.0, 20.0, 30.0, 40.0]
    assert together["latencies_ms"] == [0.5, 1.0, 2.0, 3.0, 4.0]
    assert together["late_ms"] == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_closed_loop_is_never_late() -> None:
    together = merged([part(ends_ms=[2.0], latencies_ms=[1.0]), part()])
    assert (together["ends_ms"], together["late_ms"]) == ([2.0], [])


def test_counts_add_up_and_the_worst_generator_speaks_for_all() -> None:
    together = merged(
        [
            part(failures={"HTTP 503": 1}, wrong=2, examples=["a", "b"], core_percent=80.0),
            part(failures={"HTTP 503": 2, "timeout": 1}, wrong=1, examples=["c", "d"],
                 wait_percent=30.0, heartbeat_ms=7.0, seconds=3.0),
        ]
    )  # fmt: skip
    assert together["failures"] == {"HTTP 503": 3, "timeout": 1}
    assert (together["wrong"], together["examples"]) == (3, ["a", "b", "c"])
    assert (together["core_percent"], together["wait_percent"]) == (80.0, 30.0)
    assert (together["heartbeat_ms"], together["generators"]) == (7.0, 2)
    assert together["seconds"] == 2.5


def test_samples_of_nothing_are_merged_too() -> None:
    together = merged([part(), part()])
    assert (together["latencies_ms"], together["ends_ms"], together["generators"]) == ([], [], 2)
