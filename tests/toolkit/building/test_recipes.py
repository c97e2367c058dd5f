"""The recipes that ship, and every way one can be broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.building.recipes import FOLDER, Promise, Recipe, read_recipe, read_recipes
from tiankong.toolkit.errors import UnusableInputError

GOOD: dict[str, Any] = {
    "name": "onnx-mine",
    "summary": "mine",
    "engine": "onnxruntime",
    "file": "onnx/model_mine.onnx",
    "steps": ["export", "fuse"],
    "promise": {"top1_agreement": 0.9},
}

ON_CPU: dict[str, Any] = {"engine": "pytorch", "steps": []}


def test_all_recipes_that_ship_read_the_reference_first() -> None:
    names = [recipe.name for recipe in read_recipes()]
    assert names[0] == "pytorch-fp32"
    assert names[1:] == sorted(names[1:])
    assert sorted(names) == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert {"onnx-fp32", "onnx-fp16", "onnx-int8"} <= set(names)


def test_files_lie_where_the_hub_expects_them() -> None:
    files = {recipe.name: recipe.file for recipe in read_recipes()}
    assert files["onnx-fp32"] == "onnx/model.onnx"
    assert files["onnx-fp16"] == "onnx/model_fp16.onnx"
    assert files["onnx-int8"] == "onnx/model_int8.onnx"
    assert files["pytorch-fp32"] == "model.safetensors"
    assert files["openvino-int8"] == "openvino/openvino_model.xml"
    assert len({file for file in files.values() if file.startswith("onnx/")}) == len(
        [name for name in files if name.startswith("onnx-")]
    )


def test_every_variant_promises_something() -> None:
    assert all(recipe.promise != Promise() for recipe in read_recipes())


def test_named_recipes_keep_their_order_and_come_once() -> None:
    asked = ["onnx-int8", "pytorch-fp32", "onnx-int8"]
    assert [r.name for r in read_recipes(asked)] == ["onnx-int8", "pytorch-fp32"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnusableInputError, match=r"variant 'onnx-int4'; known: .*onnx-int8"):
        read_recipes(["onnx-int4"])


def own_folder(place: Path, *names: str) -> Path:
    for name in names:
        recipe = f'name = "{name}"\nsummary = "x"\nengine = "pytorch"\nfile = "f"\n'
        (place / f"{name}.toml").write_text(recipe, encoding="utf-8")
    return place


def test_recipes_of_ones_own_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    own = own_folder(tmp_path, "mine", "a-second")
    both = [recipe.name for recipe in read_recipes(own_recipes=own)]
    assert both[0] == "pytorch-fp32"
    assert set(both) == {recipe.name for recipe in read_recipes()} | {"mine", "a-second"}
    assert [r.name for r in read_recipes(["mine", "onnx-int8"], own)] == ["mine", "onnx-int8"]
    with pytest.raises(UnusableInputError, match=rf"known: .*mine.* \({FOLDER}, {tmp_path}\)"):
        read_recipes(["yours"], own)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "no recipe .* is there"),
        (("onnx-int8",), "the name onnx-int8 is a shipped recipe's"),
        (("own-file",), "are those of files brought by --onnx"),
    ],
)
def test_a_folder_of_ones_own_that_is_refused(
    tmp_path: Path, names: tuple[str, ...], reason: str
) -> None:
    own = own_folder(tmp_path, *names)
    with pytest.raises(UnusableInputError, match=rf"^--recipes {tmp_path}: .*{reason}"):
        read_recipes(["pytorch-fp32"], own)


def test_json_roundtrip() -> None:
    for recipe in read_recipes():
        assert Recipe.from_json(json.loads(json.dumps(recipe.as_json())), "x") == recipe


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"extra": 1}, "unknown key 'extra'"),
        ({"name": None}, "'name' is missing"),
        ({"summary": ""}, "'summary' is missing"),
        ({"engine": 3}, "'engine' is missing or is not a string"),
        ({"file": None}, "'file' is missing"),
        ({"name": "Onnx Mine"}, "is not like 'onnx-int8'"),
        ({"name": "../up"}, "is not like 'onnx-int8'"),
        ({"engine": "tensorrt"}, "unknown engine 'tensorrt'; known: pytorch, onnxruntime"),
        ({"file": "../model.onnx"}, "must lie inside"),
        ({"file": "/tmp/model.onnx"}, "must lie inside"),
        ({"steps": "export"}, "'steps' is not a list"),
        ({"steps": ["export", "prune"]}, "unknown step 'prune'; known: export"),
        ({"steps": ["export", ["fuse"]]}, "unknown step"),
        ({"steps": ["fuse"]}, "begins with the step 'export'"),
        ({"steps": ["export", "export"]}, "only begins"),
        ({"engine": "pytorch"}, "a pytorch recipe takes no steps"),
        ({"engine": "openvino"}, "the steps of an openvino recipe are export, head-at-mask"),
        ({"engine": "openvino", "steps": []}, "the steps of an openvino recipe are"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; known: fp32, bf16, fp16"),
        ({"precision": ["fp32"]}, "unknown precision"),
        ({"precision": "bf16"}, "an onnxruntime recipe takes no precision"),
        ({"device": "tpu"}, "unknown device 'tpu'; known: cpu, cuda"),
        ({"device": "cuda"}, "only a pytorch recipe runs on the device 'cuda'"),
        ({**ON_CPU, "precision": "fp16"}, "a CPU does not compute in fp16"),
        ({"budget": 0.01}, "a budget is for the step 'int8-static'"),
        ({"steps": ["export", "int8-static"], "budget": "0.01"}, r"is not in 0\.\.1"),
        ({"steps": ["export", "int8-static"], "budget": float("nan")}, r"is not in 0\.\.1"),
        ({"steps": ["export", "int8-static"], "budget": 2}, r"is not in 0\.\.1"),
        ({"promise": 1}, "'promise' is not a table"),
        ({"promise": {"top1": 1}}, "unknown promise 'top1'"),
        ({"promise": {"top1_agreement": 1.5}}, r"is not in 0\.\.1"),
        ({"promise": {"top1_agreement": float("nan")}}, r"is not in 0\.\.1"),
        ({"promise": {"top1_agreement": "1"}}, r"is not in 0\.\.1"),
        ({"promise": {"max_delta": True}}, r"is not in 0\.\.1"),
        ({"promise": {"ordered": 1}}, "is not true or false"),
        ({"promise": {"top1_agreement": None}}, r"is not in 0\.\.1"),
    ],
)
def test_broken_recipes_say_why(change: dict[str, Any], reason: str) -> None:
    merged = {**GOOD, **change}
    data = {key: value for key, value in merged.items() if value is not None}
    with pytest.raises(UnusableInputError, match=f"^mine: .*{reason}"):
        Recipe.from_json(data, "mine")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_only_what_was_brought_has_no_steps(tmp_path: Path) -> None:
    assert Recipe.from_json({**GOOD, "steps": []}, "manifest").steps == ()
    lines = [f'{key} = "{GOOD[key]}"' for key in ("name", "summary", "engine", "file")]
    path = write(tmp_path, f"{GOOD['name']}.toml", "\n".join(lines))
    with pytest.raises(UnusableInputError, match="begins with the step 'export'"):
        read_recipe(path)


def test_a_file_must_be_named_as_its_recipe(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "other.toml",
        'name = "mine"\nsummary = "s"\nengine = "pytorch"\nfile = "model.safetensors"\n',
    )
    with pytest.raises(UnusableInputError, match=r"other\.toml: its name is 'mine'"):
        read_recipe(path)
    assert read_recipe(path.rename(tmp_path / "mine.toml")).promise == Promise()


@pytest.mark.parametrize("content", ["name = ", b"\xff\xfe", None])
def test_files_that_cannot_be_read(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        write(tmp_path, "mine.toml", content)
    with pytest.raises(
        UnusableInputError, match=r"recipe mine\.toml (cannot be read|does not exist)"
    ):
        read_recipe(path)


def test_what_depends_on_its_batch_says_so() -> None:
    data = {"name": "x", "summary": "s", "engine": "onnxruntime", "file": "f"}
    fixed = Recipe.from_json(data | {"steps": ["export"]}, "r")
    dynamic = Recipe.from_json(data | {"steps": ["export", "fuse", "int8-dynamic"]}, "r")
    assert (fixed.batch, dynamic.batch) == ("independent", "dependent")
    assert Recipe.from_json(dynamic.as_json(), "r") == dynamic
    with pytest.raises(UnusableInputError, match="unknown batch 'maybe'"):
        Recipe.from_json(data | {"steps": ["export"], "batch": "maybe"}, "r")
