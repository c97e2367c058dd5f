"""Variants by name: built if missing, refused if they are not what they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.toolkit.building import build as building
from tiankong.toolkit.building.folders import variant_folder
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

MODEL = "builtin-small"
STORE = Store(MODEL)


@pytest.fixture
def own(small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifacts folder of the test's own with onnx-int8 in it."""
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    shutil.copytree(small_variants["onnx-int8"].folder, variant_folder(MODEL, "onnx-int8"))
    return variant_folder(MODEL, "onnx-int8")


def changed(folder: Path, part: str, key: str) -> None:
    manifest = json.loads((folder / "variant.json").read_text(encoding="utf-8"))
    manifest[part][key] = "of yesterday"
    (folder / "variant.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(("part", "key"), [("recipe", "summary"), ("model", "revision")])
def test_a_variant_of_another_version_is_refused(own: Path, part: str, key: str) -> None:
    (built,) = STORE.get(["onnx-int8"])
    assert (built.folder, built.skipped) == (own, True)
    changed(own, part, key)
    for use in (lambda: STORE.get(["onnx-int8"]), lambda: STORE.to_open("onnx-int8")):
        with pytest.raises(UnusableInputError, match="made by another version"):
            use()
    assert STORE.standing("onnx-int8").folder == own  # returned unchecked


def test_damage_is_found_unless_opening_will_find_it(own: Path) -> None:
    with (own / "onnx" / "model_int8.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(UnusableInputError, match="is damaged"):
        STORE.get(["onnx-int8"])
    assert STORE.to_open().folder == own  # the usual variant


def test_the_reference_is_made_ready_beside_what_is_named(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def noted(model: str, recipes: list[building.Recipe], *more: object, **options: object) -> None:
        asked.append([recipe.name for recipe in recipes])
        raise KeyboardInterrupt

    monkeypatch.setattr(building, "build", noted)
    STORE.get(["onnx-int8"])
    assert asked == []
    with pytest.raises(KeyboardInterrupt):
        STORE.get(["onnx-int8"], reference=True)
    assert asked == [["pytorch-fp32"]]


def test_of_what_is_returned_the_reference_is_only_if_named(
    small_variants: dict[str, Built],
) -> None:
    for names in (["onnx-int8"], ["onnx-int8", "pytorch-fp32"]):
        got = STORE.get(names, reference=True)
        assert [built.manifest.variant for built in got] == names
    assert [built.manifest.variant for built in STORE.get()] == list(small_variants)


def test_what_was_never_built_does_not_stand(own: Path) -> None:
    with pytest.raises(UnusableInputError, match="build it first"):
        STORE.standing("onnx-fp32")
    with pytest.raises(UnusableInputError, match="unknown variant 'onnx-int4'"):
        STORE.to_open("onnx-int4")


def test_a_store_bears_the_models_name_or_the_tokenizers(tmp_path: Path) -> None:
    offer = Offer(tmp_path / "m.onnx", tmp_path / "some words")
    assert Store("", offer=offer).name == "some words"
    assert Store(MODEL, offer=offer).name == STORE.name == MODEL
    with pytest.raises(UnusableInputError, match="leave out onnx-int8"):
        Store("", offer=offer).to_open("onnx-int8")
