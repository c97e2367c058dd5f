"""The manifest is written, read, and compared with the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.building.manifest import (
    NAME,
    Manifest,
    read_manifest,
    record_files,
    write_manifest,
)
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.engines.kinds import Expected
from tiankong.toolkit.errors import UnusableInputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A variant folder with small files and its manifest."""
    folder = tmp_path / "v"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model_int8.onnx").write_bytes(b"\x3a\x05\x12\x03abc")  # no nodes
    (folder / "onnx" / "model_int8.onnx.data").write_bytes(b"more")
    (folder / "config.json").write_text("{}")
    write_manifest(folder, manifest_of(folder))
    return folder


def manifest_of(folder: Path) -> Manifest:
    (recipe,) = read_recipes(["onnx-int8"])
    return Manifest(
        variant="onnx-int8",
        model={"name": "m", "revision": "abc"},
        recipe=recipe,
        files=record_files(folder),
        versions={"numpy": "2"},
        machine={"cpu": "x", "usable_cores": 2},
        built="2026-01-01T00:00:00+00:00",
        notes={"batch": "dynamic"},
    )


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / NAME).read_text(encoding="utf-8"))
    change(data)
    (folder / NAME).write_text(json.dumps(data))


def test_roundtrip(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest == manifest_of(folder)
    manifest.verify(folder)
    gated = manifest.with_gate({"passed": True})
    write_manifest(folder, gated)
    assert read_manifest(folder) == gated
    assert gated.digest == manifest.digest


def gate_of(**changes: Any) -> dict[str, Any]:
    batch = {"independent": True, "max_delta": 0.0, "same_length_delta": None}
    return {"batch": batch | changes}


@pytest.mark.parametrize(
    ("variant", "gate", "mates"),
    [
        ("onnx-int8", None, "any"),
        ("pytorch-fp32", None, "any"),
        ("pytorch-bf16", None, "same length"),
        ("openvino-int8", None, "same length"),
        ("openvino-int8", gate_of(), "any"),
        ("openvino-int8", gate_of(max_delta=0.01, same_length_delta=0.0), "same length"),
        ("openvino-int8", gate_of(max_delta=0.01, same_length_delta=0.01), "none"),
        ("onnx-int8", gate_of(independent=False), "none"),
        ("onnx-int8", {"passed": False}, "any"),
    ],
)
def test_what_may_be_asked_together(
    folder: Path, variant: str, gate: dict[str, Any] | None, mates: str
) -> None:
    recipe = read_recipes([variant])[0]
    assert replace(manifest_of(folder), recipe=recipe, gate=gate).mates == mates


def test_what_is_declared_or_unknown_is_asked_alone(folder: Path) -> None:
    made = manifest_of(folder)
    assert replace(made, recipe=replace(made.recipe, batch="dependent")).mates == "none"
    brought = replace(made, recipe=replace(made.recipe, steps=()))
    assert brought.mates == "none"
    assert replace(brought, gate=gate_of()).mates == "any"


def test_what_the_gate_saw_is_what_to_expect(folder: Path) -> None:
    made = manifest_of(folder)
    assert made.expected is None
    assert made.with_gate(gate_of()).expected is None
    results = [{"token": "上", "score": 0.9}, {"token": "下", "score": 0.05}]
    gated = made.with_gate(gate_of() | {"expected": {"text": "[MASK]", "results": results}})
    assert gated.expected == Expected("[MASK]", {"上": 0.9, "下": 0.05})


def test_sizes(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert sorted(manifest.files) == [
        "config.json",
        "onnx/model_int8.onnx",
        "onnx/model_int8.onnx.data",
    ]
    assert (manifest.size, manifest.model_file_size) == (13, 11)


def test_the_digest_follows_names_and_bytes(folder: Path) -> None:
    before = read_manifest(folder).digest
    (folder / "config.json").write_text("[]")
    changed = manifest_of(folder).digest
    (folder / "config.json").write_text("{}")
    (folder / "config.json").rename(folder / "config.txt")
    assert len({before, changed, manifest_of(folder).digest}) == 3


def test_one_changed_byte_is_seen(folder: Path) -> None:
    (folder / "onnx" / "model_int8.onnx").write_bytes(b"weightz")
    with pytest.raises(UnusableInputError, match=r"model_int8\.onnx is damaged.*--variants onnx"):
        read_manifest(folder).verify(folder)


def test_a_missing_file_is_seen(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UnusableInputError, match=r"config\.json is missing: build it again"):
        read_manifest(folder).verify(folder)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "onnx/../../x"])
def test_a_path_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    edit(folder, lambda data: data["files"].update({name: {"size": 1, "sha256": "0"}}))
    with pytest.raises(UnusableInputError, match="names a file outside its folder"):
        read_manifest(folder)


def test_a_recipe_file_outside_the_folder_is_refused(folder: Path) -> None:
    edit(folder, lambda data: data["recipe"].update(file="../model.onnx"))
    with pytest.raises(UnusableInputError, match="must lie inside the folder"):
        read_manifest(folder)


def test_another_format_is_refused(folder: Path) -> None:
    edit(folder, lambda data: data.update(format=2))
    with pytest.raises(UnusableInputError, match="has format 2, this version reads 1"):
        read_manifest(folder)


@pytest.mark.parametrize("key", ["format", "variant", "recipe", "files", "machine", "built"])
def test_a_missing_key_is_no_manifest(folder: Path, key: str) -> None:
    edit(folder, lambda data: data.pop(key))
    with pytest.raises(UnusableInputError, match="is not a manifest"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"text"', "null", '{"format": 1, "files": ["config.json"]}']
)
def test_other_content_is_one_clear_line(folder: Path, content: str) -> None:
    (folder / NAME).write_text(content)
    with pytest.raises(UnusableInputError, match=r"variant\.json") as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_no_folder_no_variant(tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="is no variant"):
        read_manifest(tmp_path / "none")
