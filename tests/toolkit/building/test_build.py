"""A variant is built once, built again if damaged, and never left half built."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psutil
import pytest

from tiankong.toolkit.building.availability import choose
from tiankong.toolkit.building.folders import Built, variant_folder
from tiankong.toolkit.building.manifest import record_files
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs import steps as graphs

if TYPE_CHECKING:
    from torch.nn import Module

MODEL = "builtin-small"
STORE = Store(MODEL)
ONNX = ("onnx-fp16", "onnx-fp16-naive", "onnx-fp32", "onnx-int8", "onnx-int8-small")


@pytest.fixture
def own(small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifacts folder of the test's own, with the two quickest variants in it."""
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    for name in ("pytorch-fp32", "onnx-int8"):
        shutil.copytree(small_variants[name].folder, variant_folder(MODEL, name))
    return tmp_path


def left_over(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".") or ".part" in p.name]


def test_all_variants_are_whole(small_variants: dict[str, Built]) -> None:
    assert set(ONNX) | {"pytorch-fp32"} <= set(small_variants)
    assert list(small_variants) == choose().names
    for built in small_variants.values():
        built.manifest.verify(built.folder)
        assert dict(built.manifest.files) == record_files(built.folder)
        assert {"config.json", "tokenizer.json", built.manifest.recipe.file} <= set(
            built.manifest.files
        )
        assert not left_over(built.folder.parent)
    notes = {name: built.manifest.notes for name, built in small_variants.items()}
    assert "does not depend on its neighbours" in notes["onnx-int8"]["batch"]


def test_a_second_build_keeps_what_stands(own: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in own.rglob("*")}
    built = STORE.build(["onnx-int8", "pytorch-fp32"])
    assert [b.manifest.variant for b in built] == ["onnx-int8", "pytorch-fp32"]
    assert all(b.skipped for b in built)
    assert {p: p.stat().st_mtime_ns for p in own.rglob("*")} == before


def test_a_changed_byte_is_built_again(own: Path) -> None:
    weights = variant_folder(MODEL, "pytorch-fp32") / "model.safetensors"
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    int8, reference = STORE.build(["onnx-int8", "pytorch-fp32"])
    assert (int8.skipped, reference.skipped) == (True, False)
    reference.manifest.verify(reference.folder)
    assert not left_over(own)


def test_an_interrupted_build_leaves_nothing_half_made(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(network: Module, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(graphs, "export", interrupted)
    before = sorted(own.rglob("*"))
    with pytest.raises(KeyboardInterrupt):
        STORE.build(["onnx-fp32"])
    assert sorted(own.rglob("*")) == before


@pytest.mark.parametrize("short", ["disk", "memory"])
def test_too_little_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "new"))
    if short == "disk":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    else:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    with pytest.raises(UnusableInputError, match=f"building 1 variants .* of {short}"):
        STORE.build(["pytorch-fp32"])
    assert not list(tmp_path.iterdir())


def test_a_model_with_few_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentences that try a build out, and the exporter's, are longer than it can take."""
    from family_models import save_family_model

    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    folder = save_family_model(tmp_path / "m", "bert", layers=1, max_position_embeddings=8)
    names = ["onnx-fp32", "pytorch-fp32"]
    answers = [
        open_variant(built.folder).predict(["好[MASK]"])[0][0]
        for built in Store(str(folder)).build(names)
    ]
    ours, theirs = ([entry.token for entry in answer] for answer in answers)
    assert ours == theirs
