"""ONNX Runtime's levels of graph optimization, on a real graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from tiankong.bench.explain import levels
from tiankong.bench.explain.levels import TURNS, Level, measure_levels
from tiankong.toolkit.engines.text import TextEncoder

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built
    from tiankong.toolkit.engines.text import Batch


def batch_for(built: Built) -> Batch:
    encoder = TextEncoder.from_folder(built.folder)
    return encoder.batch([encoder.encode("今天天气[MASK]啊")])


def test_every_level_is_timed_in_turns_with_the_highest(small_variants: dict[str, Built]) -> None:
    built = small_variants["onnx-int8"]
    found = measure_levels(built.folder / built.manifest.recipe.file, batch_for(built))
    assert [level.name for level in found] == ["all", "extended", "basic", "none"]
    assert all(len(level.ratios) == TURNS and level.ms > 0 for level in found[1:])
    assert not found[0].faster


def test_no_room_for_two_sessions(
    small_variants: dict[str, Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = small_variants["onnx-int8"]
    memory = psutil.virtual_memory()._replace(available=1 << 20)
    monkeypatch.setattr(levels.psutil, "virtual_memory", lambda: memory)
    assert measure_levels(built.folder / built.manifest.recipe.file, batch_for(built)) == []


@pytest.mark.parametrize(
    ("ratios", "faster"),
    [
        ([1.2] * TURNS, True),
        ([7.0] * (TURNS - 1) + [1.01], True),
        ([1.2] * (TURNS - 1) + [0.99], False),  # not in every turn
        ([1.05] * TURNS, False),  # not much
        ([7.0, 9.0, 8.0], True),  # a few long calls
        ([1.5, 1.6, 1.7], False),  # few, and not so much
        ([7.0], False),  # once
    ],
)
def test_faster_is_in_every_turn_and_clearly(ratios: list[float], faster: bool) -> None:
    assert Level("basic", 1.0, ratios).faster is faster
