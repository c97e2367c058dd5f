"""Honest pickled weights: converted bit by bit, once, whole or not at all."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_pickles import Numbers, Tensor, legacy_file, pickled, zip_file

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import ARTIFACTS, sha256
from tiankong.toolkit.models.pickles import conversion, reader
from tiankong.toolkit.models.pickles.machine import read_pickle

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]

FLOAT_TYPES = ("float32", "float16", "bfloat16", "float64")
NEWER_TYPES = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
WHOLE_TYPES = ("int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    return tmp_path / "model"


def every_kind() -> State:
    """Return tensors of every dtype, and in every way they can lie in a storage."""
    import torch

    torch.manual_seed(5)
    state: State = OrderedDict()
    for name in FLOAT_TYPES:
        state[name] = (torch.randn(3, 4) * 100).to(getattr(torch, name))
    state["odd"] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45])
    for name in NEWER_TYPES:
        state[name] = torch.arange(6).reshape(2, 3).to(getattr(torch, name))
        state[f"part of {name}"] = state[name][:, 1:]
    for name in WHOLE_TYPES:
        state[name] = torch.randint(-100, 100, (2, 5)).to(getattr(torch, name))
    words = torch.randn(20, 30)
    marked = torch.nn.Parameter(torch.randn(2))
    vars(marked)["_is_hf_initialized"] = True
    state |= {
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 5),
        "empty inside": torch.zeros(3, 0, 2),
        "words": words,
        "tied": words,
        "transposed": words.t(),
        "part": words[3:7, 2:9],
        "stepped": words[::2, ::3],
        "row": words[4],
        "expanded": torch.randn(1, 5).expand(4, 5),
        "parameter": torch.nn.Parameter(torch.randn(5)),
        "parameter with an attribute": marked,
        "one wide": torch.randn(7, 1).t(),
    }
    return state


def save(state: Any, path: Path, kind: str) -> None:
    import torch

    if kind == "zip":
        torch.save(state, path)
    elif kind == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        torch.save(state, path, pickle_protocol=int(kind.removeprefix("zip, protocol ")))


def require_same_bits(made: State, expected: State) -> None:
    import torch

    assert made.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (made[name].dtype, made[name].shape) == (tensor.dtype, tensor.shape), name
        ours, theirs = (t.detach().contiguous().flatten() for t in (made[name], tensor))
        assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8)), name


def converted(folder: Path) -> State:
    from safetensors.torch import load_file

    return load_file(conversion.convert(folder, str(folder), "a1").folder / "model.safetensors")


@pytest.mark.parametrize("kind", ["zip", "legacy", "zip, protocol 3", "zip, protocol 4"])
def test_the_same_bits_as_torch(folder: Path, kind: str) -> None:
    import torch

    state = every_kind()
    if kind == "legacy":  # torch.load does not read these there
        state = {name: t for name, t in state.items() if not name.endswith(NEWER_TYPES)}
    save(state, folder / "pytorch_model.bin", kind)
    ours = folder / "pytorch_model.bin"  # weights_only=True refuses protocol 4
    require_same_bits(converted(folder), torch.load(ours, weights_only="protocol" not in kind))


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_the_state_of_a_network(folder: Path, kind: str) -> None:
    """Its dictionary has the versions of its modules as an attribute."""
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    save(network.state_dict(), folder / "pytorch_model.bin", kind)
    require_same_bits(converted(folder), dict(network.state_dict()))


def test_numbers_of_a_big_endian_machine(folder: Path) -> None:
    import torch

    state = {k: v for k, v in every_kind().items() if v.numel() and not k.endswith(NEWER_TYPES)}
    torch.save(state, folder / "little.bin")
    with (
        zipfile.ZipFile(folder / "little.bin") as little,
        zipfile.ZipFile(folder / "pytorch_model.bin", "w") as big,
    ):
        widths = {n: t.element_size() for n, t in _numbered(state).items()}
        for name in little.namelist():
            data, key = little.read(name), name.rpartition("/")[2]
            if "/data/" in name:
                width = widths[key]
                data = b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
            big.writestr(name, b"big" if key == "byteorder" else data)
    require_same_bits(converted(folder), torch.load(folder / "pytorch_model.bin"))
    require_same_bits(converted(folder), dict(state))


def _numbered(state: State) -> State:
    """Return one tensor a storage, by the storage's key in a zip file."""
    seen: dict[int, torch.Tensor] = {}
    for tensor in state.values():
        seen.setdefault(tensor.untyped_storage().data_ptr(), tensor)
    return {str(number): tensor for number, tensor in enumerate(seen.values())}


def test_a_view_of_a_legacy_storage(folder: Path) -> None:
    """PyTorch 0.3 wrote parts of a storage as views."""
    import torch

    viewed = Tensor(Numbers(view=("view", 2, 4)), offset=1, shape=(3,), strides=(1,))
    path = legacy_file(folder / "pytorch_model.bin", pickled({"w": viewed}, legacy=True))
    require_same_bits(converted(folder), torch.load(path))
    require_same_bits(converted(folder), {"w": torch.tensor([3.0, 4.0, 5.0])})


def test_newer_types_in_a_legacy_file(folder: Path) -> None:
    import torch

    save({"w": torch.arange(6).to(torch.uint16)}, folder / "pytorch_model.bin", "legacy")
    with pytest.raises(UnusableInputError, match="in uint16, which PyTorch itself does not read"):
        conversion.convert(folder, "model", "a1")


def test_names_and_dictionaries_of_python_2() -> None:
    """It wrote byte strings, and an OrderedDict by its list of pairs."""
    written = b"\x80\x02ccollections\nOrderedDict\n](](U\x05layerU\x03\xe5\xad\x97ee\x85R."
    assert read_pickle(io.BytesIO(written)) == {"layer": "字"}


def test_shards(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    state = every_kind()
    names = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    where = {name: names[number % 2] for number, name in enumerate(state)}
    for shard in names:
        torch.save({n: t for n, t in state.items() if where[n] == shard}, folder / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": where}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    made = conversion.convert(folder, str(folder), "a1")
    assert dict(made.pickles) == {name: sha256(folder / name) for name in names}
    files = sorted(path.name for path in made.folder.glob("*.safetensors"))
    assert files == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    together: State = {}
    for name in files:
        together |= load_file(made.folder / name)
    require_same_bits(together, state)
    written = json.loads((made.folder / "model.safetensors.index.json").read_text())
    assert written["weight_map"].keys() == state.keys()
    index["weight_map"]["another"] = names[0]  # type: ignore[index]
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    (made.folder / "converted.json").unlink()
    with pytest.raises(UnusableInputError, match="names other tensors than its files have"):
        conversion.convert(folder, str(folder), "a1")


def test_done_once_and_anew_for_other_files(
    folder: Path, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = zip_file(folder / "pytorch_model.bin", pickled({"w": Tensor()}))
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text("not needed")
    first = conversion.convert(folder, str(folder), "a1")
    assert first.folder == artifacts / "converted" / "model@a1"
    assert sorted(file.name for file in first.folder.iterdir()) == [
        "config.json", "converted.json", "model.safetensors",
    ]  # fmt: skip
    assert "pytorch_model.bin of " in capsys.readouterr().err
    stamp = (first.folder / "model.safetensors").stat().st_ino
    assert conversion.convert(folder, str(folder), "a1") == first
    assert (first.folder / "model.safetensors").stat().st_ino == stamp
    assert capsys.readouterr().err == ""
    (folder / "config.json").write_text('{"other": 1}')
    conversion.convert(folder, str(folder), "a1")
    assert (first.folder / "config.json").read_text() == '{"other": 1}'
    (first.folder / "model.safetensors").write_bytes(b"damaged")
    conversion.convert(folder, str(folder), "a1")
    assert (first.folder / "model.safetensors").read_bytes() != b"damaged"
    numbers = struct.pack("<6f", *range(6, 0, -1))
    zip_file(path, pickled({"w": Tensor()}), {"archive/data/0": numbers})
    second = conversion.convert(folder, str(folder), "a1")
    assert dict(second.pickles) == {"pytorch_model.bin": sha256(path)} != dict(first.pickles)
    made = (second.folder / "model.safetensors").read_bytes()
    assert made.endswith(numbers)


def test_a_module_in_the_current_folder_is_not_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_file(folder / "pytorch_model.bin", pickled({"w": Tensor()}))
    for name in ("numpy", "zipfile", "mmap"):
        (folder / f"{name}.py").write_text("open('touched', 'w')")
    monkeypatch.chdir(folder)
    conversion.convert(folder, str(folder), "a1")
    assert not (folder / "touched").exists()


def test_names_of_models_make_folders(folder: Path, artifacts: Path) -> None:
    zip_file(folder / "pytorch_model.bin", pickled({"w": Tensor()}))
    made = conversion.convert(folder, "hfl/rbt3", "c" * 40)
    assert made.folder == artifacts / "converted" / f"hfl--rbt3@{'c' * 40}"


def test_the_reader_has_a_time_limit(folder: Path) -> None:
    path = zip_file(folder / "pytorch_model.bin", pickled({"w": Tensor()}))
    with pytest.raises(UnusableInputError, match="takes more than 0 s to read"):
        conversion.run_reader(path, folder / "out", seconds=0.001)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("hungry", "words"),
    [
        ("bytes(2 << 30)", "MemoryError"),
        ("open('big', 'wb').write(bytes(9 << 20))", "File too large"),
    ],
)
def test_the_readers_process_has_limits(tmp_path: Path, hungry: str, words: str) -> None:
    program = f"from {reader.__name__} import _limit\n_limit(1000, 9)\n{hungry}"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert words in ended.stderr


def test_a_reader_that_dies_is_said_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_file(folder / "pytorch_model.bin", pickled({"w": Tensor()}))
    monkeypatch.setattr(conversion, "_READER", "tiankong.toolkit.models.pickles.nothing")
    with pytest.raises(UnusableInputError, match="not converted"):
        conversion.run_reader(path, folder / "out")


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(UnusableInputError, match=r"pytorch_model.bin is missing"):
        conversion.convert(folder, "model", "a1")
    index = {"weight_map": {"w": "pytorch_model-00001-of-00001.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(UnusableInputError, match=r"-00001-of-00001.bin is missing"):
        conversion.convert(folder, "model", "a1")
    index["weight_map"]["w"] = "../../etc/passwd.bin"
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(UnusableInputError, match="names no bin file"):
        conversion.convert(folder, "model", "a1")
