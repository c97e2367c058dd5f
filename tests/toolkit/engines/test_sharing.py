"""Each call gets its share of the cores, and the answers stay the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.predictor import Engine, Logits, Predictor
from tiankong.toolkit.engines.sharing import SharingEngine, widths
from tiankong.toolkit.engines.text import Batch
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.machine import usable_cores

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

EMPTY = np.zeros((0, 0), np.int64)
NOWHERE = np.zeros(0, np.int64)
BATCH = Batch(EMPTY, EMPTY, EMPTY, NOWHERE, NOWHERE)


class Held(Engine):
    """Answers with its width when the test releases it."""

    def __init__(self, width: int, log: list[int]) -> None:
        self.width, self.log = width, log
        self.begun, self.go = Event(), Event()

    def logits(self, batch: Batch) -> Logits:
        self.log.append(self.width)
        self.begun.set()
        assert self.go.wait(10)
        return np.zeros((0, 0), np.float32)


@contextmanager
def running(shared: SharingEngine, engine: Held) -> Iterator[None]:
    """Keep a call running, in the engine it should get, while the block runs."""
    engine.begun.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(shared.logits, BATCH)
        try:
            assert engine.begun.wait(10)
            yield
        finally:
            engine.go.set()
            call.result(10)


def test_a_call_takes_what_its_company_leaves() -> None:
    log: list[int] = []
    engines = {width: Held(width, log) for width in widths(8)}
    shared = SharingEngine(engines)
    with ExitStack() as calls:
        for width in (8, 4, 2, 2, 1):  # 8 cores for one, two, three, four, five calls
            calls.enter_context(running(shared, engines[width]))
    assert log == [8, 4, 2, 2, 1]
    shared.logits(BATCH)
    assert log[-1] == 8


def test_a_call_that_fails_gives_its_share_back() -> None:
    class Broken(Engine):
        def logits(self, batch: Batch) -> Logits:
            raise RuntimeError("broken")

    class Fine(Engine):
        def logits(self, batch: Batch) -> Logits:
            raise AssertionError("a call alone has all cores")

    shared = SharingEngine({1: Fine(), 2: Broken()})
    for _ in range(3):
        with pytest.raises(RuntimeError, match="broken"):
            shared.logits(BATCH)


def ask(predictor: Predictor, texts: list[str]) -> list[object]:
    return [predictor.predict([text]) for text in texts]


def test_the_answers_of_every_width_are_the_same(small_variants: dict[str, Built]) -> None:
    texts = [item.text for item in read_gold().items][:40]
    for name, built in small_variants.items():
        shared = open_variant(built.folder, share=True)
        if name.startswith("pytorch"):
            assert not shared.engine.about.widths
            continue
        every, few = widths(usable_cores()), widths(usable_cores(), step=4)
        assert shared.engine.about.widths == (few if name.startswith("openvino") else every)
        expected = ask(open_variant(built.folder, threads=1), texts)
        assert ask(shared, texts) == expected, name
        with ThreadPoolExecutor(4) as callers:
            together = callers.map(shared.predict, [[text] for text in texts])
            assert list(together) == expected, name


def test_more_than_the_graph_ranks(small_variants: dict[str, Built]) -> None:
    """They come from the logits at the masks, which the prepared graph still has."""
    built = small_variants["onnx-int8"]
    text = ["今天天气真[MASK]啊,适合出去[MASK]。"]
    plain, shared = open_variant(built.folder, threads=1), open_variant(built.folder, share=True)
    assert shared.predict(text, top_k=200) == plain.predict(text, top_k=200)
    assert shared.predict(text, candidates=["好", "玩"]) == plain.predict(
        text, candidates=["好", "玩"]
    )


def test_kept_for_the_next_start(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))

    def kept() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.bin")}

    open_variant(small_variants["onnx-int8"].folder, share=True)
    first = kept()
    open_variant(small_variants["onnx-int8"].folder, share=True)
    assert kept() == first
    assert len(first) == 1


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8"])
@pytest.mark.parametrize("file", ["tokenizer.json", "model"])
def test_a_damaged_variant_is_refused_though_its_weights_are_kept(
    small_variants: dict[str, Built],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    file: str,
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    folder = tmp_path / name
    shutil.copytree(small_variants[name].folder, folder)
    open_variant(folder, share=True)
    path = folder / (read_manifest(folder).recipe.file if file == "model" else file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnusableInputError, match="is damaged"):
        open_variant(folder, share=True)
