"""Many callers, changing lengths, unusable files, and serving without the build libraries."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

pytest.importorskip("nncf")  # the variants are built first

from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.openvino_engine import OpenvinoEngine
from tiankong.toolkit.engines.predictor import Predictor, best_of
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

SERVE = """
import sys
for name in ("torch", "transformers", "nncf", "onnx", "onnxruntime"):
    sys.modules[name] = None  # importing it raises
from pathlib import Path
from tiankong.toolkit.building.opening import open_variant
predictor = open_variant(Path(sys.argv[1]), threads=1)
print(predictor.predict(["床前明月光,疑是地[MASK]霜。"])[0][0][0].token)
"""


@pytest.fixture(scope="module")
def eight(small_variants: dict[str, Built]) -> Path:
    return small_variants["openvino-int8"].folder


@pytest.fixture(scope="module")
def predictor(eight: Path) -> Predictor:
    return open_variant(eight, threads=1)


def test_callers_side_by_side_get_their_own_answers(predictor: Predictor) -> None:
    texts = [f"{'好' * n}今天天气真[MASK]啊" for n in range(24)]
    alone = [predictor.predict([text]) for text in texts]
    with ThreadPoolExecutor(8) as callers:
        together = list(callers.map(lambda text: predictor.predict([text]), texts * 6))
    assert together == alone * 6


FIRST_TOGETHER = """
import builtins
import sys
import threading
import time
from pathlib import Path
from tiankong.toolkit.building.opening import open_variant

predictor = open_variant(Path(sys.argv[1]), threads=1)
ready, answered, real = threading.Barrier(2), [], builtins.__import__

def slow(name, *rest):
    if name.startswith("numpy"):
        time.sleep(0.2)  # so that the other thread comes meanwhile
    return real(name, *rest)

builtins.__import__ = slow

def ask():
    ready.wait()
    answered.append(predictor.predict(["今天天气真[MASK]啊。"]))

threads = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(30)
print(len(answered), flush=True)
"""


def test_two_threads_may_be_the_first_to_ask(eight: Path) -> None:
    """OpenVINO's bindings could deadlock them."""
    argv = [sys.executable, "-c", FIRST_TOGETHER, str(eight)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "2\n"


def test_every_length_and_no_memory_lost(eight: Path) -> None:
    """OpenVINO caches something per length, but once: asking again takes no more memory."""
    predictor = open_variant(eight)  # all cores for one call: one stream, one cache
    process = psutil.Process()

    def ask_all() -> int:
        for n in range(0, 500, 7):
            ((ranking,),) = predictor.predict(["好" * n + "[MASK]"])
            assert len(ranking) == 5
        return process.memory_info().rss

    once = ask_all()
    ask_all()
    assert ask_all() - once < 60e6


def test_best_is_what_the_logits_say(predictor: Predictor) -> None:
    encoder = predictor.encoder
    batch = encoder.batch([encoder.encode("今天[MASK]气真[MASK]。"), encoder.encode("[MASK]")])
    logits = predictor.engine.logits(batch)
    for top_k in (5, 50, 60):
        ids, scores = predictor.engine.best(batch, top_k)
        expected_ids, expected_scores = best_of(logits, top_k)
        assert ids.shape == scores.shape == (3, top_k)
        assert np.abs(scores - expected_scores).max() < 1e-5
        assert (ids[:, :5] == expected_ids[:, :5]).all()


def test_serving_needs_nothing_that_builds(eight: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SERVE, str(eight)], capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == "上", ran.stderr


@pytest.mark.parametrize("content", ["", "<net", "no model"])
def test_a_file_that_is_no_model(tmp_path: Path, content: str) -> None:
    path = tmp_path / "m.xml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnusableInputError, match=r"OpenVINO cannot load .*m\.xml: .") as caught:
        OpenvinoEngine(path)
    assert "\n" not in str(caught.value)


def test_a_model_with_other_inputs(tmp_path: Path) -> None:
    import openvino
    from openvino import opset13

    pixels = opset13.parameter([-1, -1], np.int32, name="pixels")
    model = openvino.Model([opset13.relu(pixels)], [pixels], "other")
    openvino.save_model(model, str(tmp_path / "m.xml"))
    with pytest.raises(UnusableInputError, match="has no input 'attention_mask'"):
        OpenvinoEngine(tmp_path / "m.xml")
