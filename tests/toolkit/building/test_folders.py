"""Folders of variants: one for each model, whatever it is called, and those made before found."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from tiankong.toolkit.building.folders import (
    Built,
    brought_folder,
    model_folder,
    variant_folder,
)
from tiankong.toolkit.building.manifest import read_manifest, record_files
from tiankong.toolkit.building.manifest import write_manifest as write_manifest_of
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.source import file_name

NAMES = (
    "模型v1", "别的v1", "v1", "V1", "v1.", ".v1", "-v1", "v 1", "v1 ", "v-1", "v--1", "v\n1",
    "é", unicodedata.normalize("NFD", "é"), "😀", "甲", "乙", "模" * 80, "模" * 79 + "型",
    "builtin", "builtin-small", "org--model", "a;$(b)", "@", "...", "~x", os.fsdecode(b"\xc4\xa3"),
)  # fmt: skip


@pytest.fixture
def variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "artifacts" / "variants"


def test_built_in_and_hub_models_have_their_names(variants: Path) -> None:
    assert model_folder("builtin-small") == variants / "builtin-small"
    Path("builtin-small").mkdir()  # the built-in model is meant all the same
    assert model_folder("builtin-small") == variants / "builtin-small"
    assert variant_folder("google-bert/bert-base-chinese", "onnx-int8") == (
        variants / "google-bert--bert-base-chinese" / "onnx-int8"
    )


def test_no_two_models_share_a_folder(variants: Path, tmp_path: Path) -> None:
    places = [tmp_path / parent / name for parent in ("a", "b") for name in NAMES]
    for place in places:
        place.mkdir(parents=True)
    hub = ["v1", "org/model", "builtin-small", "builtin"]
    folders = [model_folder(name) for name in [*map(str, places), *hub]]
    assert len(set(folders)) == len(folders)
    for folder in folders:
        assert folder.parent == variants
        folder.mkdir(parents=True)  # a name that the file system takes
        (folder / "name").write_text(folder.name, encoding="utf-8")
    assert sorted(path.name for path in variants.iterdir()) == sorted(f.name for f in folders)


def test_a_folder_is_one_model_however_it_is_named(
    variants: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("模型/甲").mkdir(parents=True)
    Path("link").symlink_to("模型/甲")
    monkeypatch.setenv("HOME", str(tmp_path))
    spelled = ["模型/甲", "./模型/甲", str(tmp_path / "模型" / "甲"), "模型/../模型/甲/", "link"]
    assert {model_folder(name) for name in [*spelled, "~/模型/甲"]} == {model_folder("模型/甲")}
    assert model_folder("模型/甲").name.startswith("甲@")


def test_a_relative_name_means_its_variants_when_the_folder_is_gone(variants: Path) -> None:
    Path("org/model").mkdir(parents=True)
    folder = model_folder("org/model")
    folder.mkdir(parents=True)
    Path("org/model").rmdir()
    assert model_folder("org/model") == folder
    (variants / "org--model").mkdir()
    assert model_folder("org/model") == variants / "org--model"


def write_manifest(folder: Path, source: str, name: str) -> None:
    folder.mkdir(parents=True)
    manifest = {"model": {"source": source, "name": name}}
    (folder / "variant.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_variants_made_before_are_found(variants: Path, tmp_path: Path) -> None:
    for name in ("mine", "org/mine"):
        Path(name).mkdir(parents=True)
    write_manifest(variants / "mine" / "onnx-int8", "folder", "./mine")
    write_manifest(variants / "mine" / "own-model", "file", "mine")
    assert model_folder("mine") == model_folder(str(tmp_path / "mine")) == variants / "mine"
    assert model_folder("org/mine").name.startswith("mine@")
    write_manifest(variants / "mine" / "onnx-fp32", "folder", "./org/mine")
    assert model_folder("mine").name.startswith("mine@")  # two models were mixed there


@pytest.mark.parametrize("model", ["", "builtin-small", "模型"])
def test_files_of_users_share_no_folder(variants: Path, model: str) -> None:
    words = Path("words")
    offers = [Offer(Path(name) / "model.onnx", words) for name in ("甲", "乙", "a")]
    offers += [Offer(Path(f"{name}.onnx"), words) for name in ("甲", "乙", "a")]
    offers += [Offer(Path("a.onnx"), words, output=name) for name in ("甲", "乙")]
    if not model:
        offers += [Offer(Path("a.onnx"), Path(name)) for name in ("甲", "乙")]
    folders = [brought_folder(offer, model, "own-model") for offer in offers]
    assert len(set(folders)) == len(folders)
    assert all(folder.parent.parent == variants for folder in folders)


def test_a_variant_that_was_built_anew_is_noticed(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(small_variants["onnx-int8"].folder, tmp_path / "v"))
    built = Built(folder, read_manifest(folder), skipped=True)
    write_manifest_of(folder, built.manifest.with_gate({"passed": True}))
    built.require_same()
    with (folder / "config.json").open("a", encoding="utf-8") as file:
        file.write(" ")
    write_manifest_of(folder, replace(built.manifest, files=record_files(folder)))
    with pytest.raises(UnusableInputError, match="was built anew meanwhile"):
        built.require_same()


def test_names_of_files_stay_readable() -> None:
    assert file_name("google-bert/bert-base-chinese") == "google-bert--bert-base-chinese"
    assert file_name("模型 v1") == "模型-v1"
    assert len(os.fsencode(file_name("模" * 300))) <= 120
