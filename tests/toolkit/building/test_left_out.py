"""A variant that cannot be made of a model's weights is left out; the others are built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import BrokenVariantError, UnusableInputError

WEIGHT = "bert.encoder.layer.0.output.dense.bias"
Edited = Callable[[str, float], Path]


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edited:
    """Save a small BERT with one value changed; what is made of it goes to a folder of its own."""
    from family_models import save_family_model
    from safetensors.torch import load_file, save_file

    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))

    def edit(weight: str, value: float) -> Path:
        folder = save_family_model(tmp_path / "model", "bert")
        weights = load_file(folder / "model.safetensors")
        weights[weight].view(-1)[3] = value
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return edit


def test_a_weight_too_large_for_float16_leaves_out_what_stores_float16(
    edited: Edited, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(str(edited(WEIGHT, 70000.0)))
    halves = ["onnx-fp16", "onnx-fp16-naive"]
    wanted = store.choose([*halves, "onnx-fp32", "pytorch-fp32"], optional=True)
    built, choice = store.build_chosen(wanted)
    assert [b.manifest.variant for b in built] == choice.names == ["onnx-fp32", "pytorch-fp32"]
    left_out = {entry["variant"]: entry["why"] for entry in choice.skipped_json()}
    assert list(left_out) == halves
    said = capsys.readouterr().err.splitlines()
    for name, why in left_out.items():
        assert why.startswith("cannot be made: weight ")
        assert why.endswith("is too large for float16: 70000, the most is 65504")
        assert said.count(f"skipped: {name} {why}") == 1
    again = store.prepare(wanted)  # what cannot be made is told again, and nothing else is built
    assert again.names == choice.names
    assert [b.skipped for b in store.build(choice.names)] == [True, True]


def test_named_it_is_an_error_after_the_others_are_built(edited: Edited) -> None:
    store = Store(str(edited(WEIGHT, 70000.0)))
    with pytest.raises(UnusableInputError, match=r"^onnx-fp16 cannot be made: weight .* float16"):
        store.build(["onnx-fp16", "onnx-fp32", "pytorch-fp32"])
    for name in ("onnx-fp32", "pytorch-fp32"):
        assert store.standing(name).manifest.variant == name
    with pytest.raises(UnusableInputError, match="onnx-fp16 cannot be made"):
        store.get(["onnx-fp16"])


def test_a_reference_that_cannot_be_made_ends_the_build(edited: Edited) -> None:
    store = Store(str(edited(WEIGHT, np.nan)))
    with pytest.raises((UnusableInputError, BrokenVariantError)):
        store.build_chosen(store.choose(["onnx-fp32", "pytorch-fp32"], optional=True))
    with pytest.raises(UnusableInputError, match="build it first"):
        store.standing("onnx-fp32")


def test_a_variant_whose_scores_are_no_numbers_is_left_out_too(edited: Edited) -> None:
    """The weight fits float16, but what is computed with it does not."""
    store = Store(str(edited("bert.encoder.layer.0.output.LayerNorm.weight", 60000.0)))
    wanted = store.choose(["onnx-fp16-naive", "onnx-fp32", "pytorch-fp32"], optional=True)
    _, choice = store.build_chosen(wanted)
    (left_out,) = choice.skipped
    assert left_out.variant == "onnx-fp16-naive"
    assert left_out.why.endswith("gives scores that are not numbers")
    with pytest.raises(BrokenVariantError, match="onnx-fp16-naive cannot be made: "):
        store.build(["onnx-fp16-naive"])
