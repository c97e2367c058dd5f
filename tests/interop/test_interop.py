"""Variant folders used without us: onnxruntime and tokenizers alone give the same answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from interop.plain import Plain, differs

from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.gate.gold import HELDOUT, read_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

ONNX = [recipe.name for recipe in read_recipes() if recipe.engine == "onnxruntime"]
TEXTS = [item.text for item in read_gold(HELDOUT).items[::5]]


@pytest.mark.parametrize("name", ONNX)
def test_plain_onnxruntime_answers_alike(name: str, small_variants: dict[str, Built]) -> None:
    built = small_variants[name]
    ours = open_variant(built.folder)
    plain = Plain(built.folder, built.manifest.recipe.file)
    vocabulary = ours.encoder.vocabulary
    for text in TEXTS:
        ((ranking,),) = ours.predict([text])
        expected = [(vocabulary[entry.token], entry.score) for entry in ranking]
        assert not differs(expected, plain.best(text)), text


def test_another_answer_is_told_from_a_tie() -> None:
    expected = [(1, 0.5), (2, 0.2), (3, 0.19999), (4, 0.05), (5, 0.01)]
    assert not differs(expected, [expected[i] for i in (0, 2, 1, 3, 4)])
    assert differs(expected, [expected[i] for i in (1, 0, 2, 3, 4)])
    assert differs(expected, [*expected[:4], (9, 0.01)])
    assert differs(expected, [(1, 0.6), *expected[1:]])
