from __future__ import annotations

import pytest

from tiankong.bench.search.space import SHARED, Setup, space


def test_the_space_holds_the_usual_settings_and_fills_the_cores() -> None:
    for engine in ("onnxruntime", "openvino", "pytorch"):
        for cores in (1, 2, 3, 4, 8):
            choices = space(engine, cores)
            assert len(set(choices)) == len(choices)
            assert Setup(1, cores, 8) in choices
            fixed = [c for c in choices if c.threads != SHARED]
            assert all(c.streams * c.threads >= cores >= c.threads for c in fixed)
            shared = {c.streams for c in choices if c.threads == SHARED and c.max_batch == 8}
            assert (engine == "pytorch" and not shared) or {1, cores} <= shared
            assert all(not c.spin or (engine == "onnxruntime" and c.threads > 1) for c in choices)
    assert len(space("onnxruntime", 2)) == 45
    openvino = {(c.streams, c.threads) for c in space("openvino", 2)}
    assert openvino == {(1, 2), (2, 1), (1, SHARED), (2, SHARED)}


def test_the_choice_of_a_server_as_it_comes() -> None:
    told = {"streams": 2, "threads": 2, "max_batch": 8, "spin": False}
    assert Setup.usual(told, "pytorch") == Setup(2, 2, 8)
    # Packed weights could not be kept: every batch gets all cores.
    assert Setup.usual(told | {"least_threads": 2}, "onnxruntime") == Setup(2, 2, 8)
    assert Setup.usual(told | {"least_threads": 1}, "onnxruntime") == Setup(2, SHARED, 8)
    assert str(Setup(2, SHARED, 8)) == "2 streams x shared cores, batches of 8"
    assert Setup(2, SHARED, 8) in space("onnxruntime", 2)


@pytest.mark.parametrize(
    ("engine", "threads"), [("onnxruntime", SHARED), ("openvino", SHARED), ("pytorch", 1)]
)
def test_on_one_core_too_the_usual_settings_are_those_without_options(
    engine: str, threads: int
) -> None:
    told = {"streams": 1, "threads": 1, "least_threads": 1, "max_batch": 8, "spin": False}
    usual = Setup.usual(told, engine)
    assert usual == Setup(1, threads, 8)
    assert usual in space(engine, 1)


def test_settings_as_options_and_in_words() -> None:
    assert Setup(2, 1, 8).options == "--streams 2 --threads 1 --max-batch 8"
    assert Setup(2, 1, 8, spin=True).options.endswith(" --spin")
    assert str(Setup(2, 1, 8, spin=True)) == "2 streams x 1 threads, batches of 8, spinning"
