"""What a folder may contain before an engine opens it."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tiankong.__main__ import main
from tiankong.toolkit.building.integrity import require_sound
from tiankong.toolkit.building.manifest import NAME, record_files
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


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


# --- variant folders: every kind of damage, by every command that opens one ----------------------


def rewritten(folder: Path) -> None:
    """Make the manifest match the folder's present files, as an attacker would."""
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
