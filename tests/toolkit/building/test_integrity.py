"""toolkit/building/integrity.py and wire.py: what a folder may hold before an engine opens it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tiankong.__main__ import main
from tiankong.toolkit.building.external_data import WireError, external_locations
from tiankong.toolkit.building.integrity import require_sound
from tiankong.toolkit.building.manifest import NAME, record_files
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


def outside(location: str, name: str = "weight") -> TensorProto:
    """A tensor whose four floats lie in another file."""
    tensor = TensorProto(
        name=name, dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value="16")
    return tensor


def initializer(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Add", ["x", "weight"], ["y"])
    return _model([node], [tensor])


def constant(tensor: TensorProto) -> onnx.ModelProto:
    made = helper.make_node("Constant", [], ["weight"], value=tensor)
    return _model([made, helper.make_node("Add", ["x", "weight"], ["y"])], [])


def branch(tensor: TensorProto) -> onnx.ModelProto:
    """The tensor inside the graphs of an If."""
    node = helper.make_node("Constant", [], ["z"], value=tensor)
    inner = helper.make_graph([node], "inner", [], [_value("z")])
    yes = numpy_helper.from_array(np.array(True), "yes")
    node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    return _model([node], [yes])


def function(tensor: TensorProto) -> onnx.ModelProto:
    body = [
        helper.make_node("Constant", [], ["weight"], value=tensor),
        helper.make_node("Add", ["x", "weight"], ["y"]),
    ]
    opset = [helper.make_opsetid("", 17)]
    mine = helper.make_function("mine", "F", ["x"], ["y"], body, opset)
    model = _model([helper.make_node("F", ["x"], ["y"], domain="mine")], [])
    model.functions.append(mine)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    return model


def sparse(tensor: TensorProto) -> onnx.ModelProto:
    model = _model([helper.make_node("Add", ["x", "weight"], ["y"])], [])
    indices = numpy_helper.from_array(np.arange(4), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [4]))
    return model


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


def _model(nodes: list[onnx.NodeProto], weights: list[TensorProto]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "g", [_value("x")], [_value("y")], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


PLACES = [initializer, constant, branch, function, sparse]
Place = Callable[[TensorProto], onnx.ModelProto]


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("place", PLACES)
def test_every_place_a_tensor_can_be_in_is_read(place: Place, tmp_path: Path) -> None:
    (tmp_path / "own.data").write_bytes(bytes(16))
    path = saved(tmp_path, place(outside("own.data")))
    assert external_locations(path) == ["own.data"]
    require_sound(tmp_path, "model.onnx")
    with pytest.raises(UnusableInputError, match="does not list"):
        require_sound(tmp_path, "model.onnx", listed=["model.onnx"])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/hostname", "sub/../../secret", "C:\\secret", "..\\secret", "\\secret", "",
     "*/_ORT_MEM_ADDR_/*"],
)  # fmt: skip
def test_data_outside_the_folder_is_refused(place: Place, location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    saved(folder, place(outside(location)))
    with pytest.raises(UnusableInputError, match="outside its folder") as caught:
        require_sound(folder, "model.onnx")
    assert "\n" not in str(caught.value)


def test_data_behind_links_is_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").symlink_to(tmp_path)
    for location in ("link", "inside/secret"):
        saved(folder, initializer(outside(location)))
        with pytest.raises(UnusableInputError, match="a symbolic link: copy"):
            require_sound(folder, "model.onnx")


def test_data_that_is_missing_or_no_file(tmp_path: Path) -> None:
    saved(tmp_path, initializer(outside("gone")))
    with pytest.raises(UnusableInputError, match="missing or is not a file"):
        require_sound(tmp_path, "model.onnx")
    os.mkfifo(tmp_path / "gone")
    with pytest.raises(UnusableInputError, match="missing or is not a file"):
        require_sound(tmp_path, "model.onnx")


def test_an_external_tensor_that_names_no_place(tmp_path: Path) -> None:
    tensor = outside("x")
    del tensor.external_data[:]
    assert external_locations(saved(tmp_path, initializer(tensor))) == [""]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x04\x95", b"PK\x03\x04zip", b"....ORTM", b"\x3a\xff\xff\xff\xff\x0f", b"\x0b",
     b"\x3a\x02", b"\x08\x07", b"\xff" * 20, b"\x3a\x05\x2a\x03\x42\x70\x00"],
)  # fmt: skip
def test_what_is_no_onnx_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(WireError):
        external_locations(path)
    with pytest.raises(UnusableInputError, match="is no ONNX file"):
        require_sound(tmp_path, "model.onnx")


def test_every_cut_of_a_model_is_read_or_refused(tmp_path: Path) -> None:
    whole = function(outside("own.data")).SerializeToString()
    path = tmp_path / "model.onnx"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        try:
            external_locations(path)
        except WireError:
            continue
        onnx.ModelProto.FromString(whole[:size])  # what we read, protobuf reads


def wrapped(tag: bytes, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return tag + length + bytes([size]) + content


def test_messages_nested_without_end(tmp_path: Path) -> None:
    content = b""
    for _ in range(200):
        for tag in (b"\x32", b"\x2a", b"\x0a"):  # a graph in an attribute in a node
            content = wrapped(tag, content)
    path = tmp_path / "model.onnx"
    path.write_bytes(wrapped(b"\x3a", content))
    with pytest.raises(WireError, match="nested too deep"):
        external_locations(path)


def test_pickles_under_any_name(tmp_path: Path) -> None:
    bomb = pickle.dumps({"weights": [1.0]})
    for name in ("pytorch_model.bin", "model.pt", "model.PTH", "a.pkl", "pytorch_model-1-of-2.bin"):
        (tmp_path / name).write_bytes(bomb)
        with pytest.raises(UnusableInputError, match="pickle"):
            require_sound(tmp_path, name)
    path = tmp_path / "model.safetensors"
    path.write_bytes(bomb)
    with pytest.raises(UnusableInputError, match="is no safetensors file"):
        require_sound(tmp_path, path.name)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bomb)
    with pytest.raises(UnusableInputError, match="is no safetensors file"):
        require_sound(tmp_path, path.name)
    path.write_bytes((8).to_bytes(8, "little") + b"[1,2,3] ")
    with pytest.raises(UnusableInputError, match="no table of tensors"):
        require_sound(tmp_path, path.name)


# --- variant folders: every way of spoiling one, through every door -----------------------------


def rewritten(folder: Path) -> None:
    """Bring the manifest up to what the folder holds now, as one who spoils it would."""
    data = json.loads((folder / NAME).read_text(encoding="utf-8"))
    records = record_files(folder)
    data["files"] = {n: {"size": r.size, "sha256": r.sha256} for n, r in records.items()}
    (folder / NAME).write_text(json.dumps(data), encoding="utf-8")


def changed_byte(folder: Path) -> None:
    path = folder / "onnx" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def changed_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("天", "无", 1), encoding="utf-8")


def extra_file(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


def missing_file(folder: Path) -> None:
    (folder / "config.json").unlink()


def recipe_file_not_listed(folder: Path) -> None:
    data = json.loads((folder / NAME).read_text(encoding="utf-8"))
    shutil.move(folder / "onnx", folder / "onyx")
    (folder / NAME).write_text(json.dumps(data), encoding="utf-8")
    rewritten(folder)


def linked_file(folder: Path) -> None:
    path = folder / "config.json"
    path.rename(folder.parent / "config-elsewhere.json")
    path.symlink_to(folder.parent / "config-elsewhere.json")


def linked_folder(folder: Path) -> None:
    (folder / "onnx").rename(folder.parent / "onnx-elsewhere")
    (folder / "onnx").symlink_to(folder.parent / "onnx-elsewhere")


def data_outside(folder: Path) -> None:
    path = folder / "onnx" / "model.onnx"
    model = onnx.load(str(path))
    tensor = next(t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT)
    (folder.parent / "stolen").write_bytes(numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../stolen")
    path.write_bytes(model.SerializeToString())
    rewritten(folder)


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    rewritten(folder)


def pickled_under_another_name(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({}))
    rewritten(folder)


Spoil = Callable[[Path], None]
SPOILS = {
    changed_byte: "again with 'tiankong build --model builtin-small --variants onnx-fp32'",
    changed_tokenizer: "is damaged",
    extra_file: "is not in the manifest",
    missing_file: "is missing",
    recipe_file_not_listed: "does not list onnx/model.onnx",
    linked_file: "is a symbolic link",
    linked_folder: "is a symbolic link",
    data_outside: "outside its folder",
    pickled: "pickle",
    pickled_under_another_name: "is no safetensors file",
}


@pytest.fixture
def variants(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Two variants of builtin-small, to be spoiled; returns their folder."""
    folder = tmp_path / "variants" / "builtin-small"
    for name in ("pytorch-fp32", "onnx-fp32"):
        shutil.copytree(small_variants[name].folder, folder / name)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    return folder


@pytest.mark.parametrize(("spoil", "said"), SPOILS.items())
def test_a_spoiled_folder_never_meets_an_engine(
    spoil: Spoil, said: str, variants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    spoil(variants / "onnx-fp32")
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("a session"))
    with pytest.raises(UnusableInputError, match=said) as caught:
        open_variant(variants / "onnx-fp32")
    assert "\n" not in str(caught.value)


DOORS = {
    "predict": ["predict", "天[MASK]", "--variant", "onnx-fp32"],
    "check": ["check", "--variants", "onnx-fp32"],
    "serve": ["serve", "--variant", "onnx-fp32", "--port", "0"],
    "article": ["serve", "--variant", "onnx-fp32", "--port", "0", "--stack", "article"],
    "sweep": ["sweep", "--variants", "onnx-fp32", "--plan", "smoke"],
    "compare": ["compare", "pytorch-fp32", "onnx-fp32"],
    "capacity": ["capacity", "onnx-fp32", "--slo", "p95=100ms"],
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("spoil", [changed_byte, extra_file, data_outside])
def test_every_door_refuses_it_with_one_line(
    door: str, spoil: Spoil, variants: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(variants / "onnx-fp32")
    assert main([*DOORS[door], "--model", "builtin-small"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("tiankong: ")
    assert "onnx-fp32" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_the_servers_own_command_refuses_without_the_onnx_package(variants: Path) -> None:
    data_outside(variants / "onnx-fp32")
    program = (
        "import sys; sys.modules.update(onnx=None, torch=None, transformers=None, safetensors=None)"
        "; from tiankong.server.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, f"--variant-dir={variants / 'onnx-fp32'}", "--port=0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "outside its folder" in done.stderr


def test_what_other_programs_leave_is_no_matter(variants: Path) -> None:
    (variants / "onnx-fp32" / ".DS_Store").write_bytes(b"x")
    (variants / "onnx-fp32" / "variant.json.123.part").write_text("{")
    assert open_variant(variants / "onnx-fp32").name == "onnx-fp32"
