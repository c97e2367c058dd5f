"""Pickled files that hold anything but weights: refused in one line, and nothing of them is run."""

from __future__ import annotations

import importlib
import operator
import os
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_pickles import (
    FLOATS,
    MAGIC,
    Call,
    Numbers,
    Tensor,
    legacy_file,
    pickled,
    zip_file,
)

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import ARTIFACTS
from tiankong.toolkit.models.pickles import conversion

TOUCHED = "touched"  # what a payload would make in the current folder
GOOD = pickled({"w": Tensor()})
Hostile = Callable[[Path], object]


def zipped(value: object) -> Hostile:
    return lambda path: zip_file(path, pickled(value))


def raw(operations: bytes) -> Hostile:
    """A zip file whose pickle is these operations."""
    return lambda path: zip_file(path, b"\x80\x02" + operations + b".")


def legacy(value: object, **more: object) -> Hostile:
    return lambda path: legacy_file(path, pickled(value, legacy=True), **more)  # type: ignore[arg-type]


def with_records(**records: bytes) -> Hostile:
    named = {name.replace("__", "/"): data for name, data in records.items()}
    return lambda path: zip_file(path, GOOD, {"archive/data/0": FLOATS, **named})


def named_records(records: dict[str, bytes]) -> Hostile:
    return lambda path: zip_file(path, GOOD, {"archive/data/0": FLOATS, **records})


def cut(length: int, old: bool = False) -> Hostile:
    def write(path: Path) -> None:
        pickle_bytes = pickled({"w": Tensor()}, legacy=old)
        (legacy_file if old else zip_file)(path, pickle_bytes)
        path.write_bytes(path.read_bytes()[:length])

    return write


def changed(before: bytes, after: bytes, where: str = "first") -> Hostile:
    """A good zip file with bytes replaced: in its first record, or in its directory."""

    def write(path: Path) -> None:
        data = zip_file(path, GOOD).read_bytes()
        parts = data.split(before)
        assert len(parts) > 1
        at = 1 if where == "first" else len(parts) - 1
        path.write_bytes(before.join(parts[:at]) + after + before.join(parts[at:]))

    return write


def tar(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(__file__, "storages")


def bomb(path: Path) -> None:
    """A compressed record of 100 MB in 100 kB."""
    big = {"archive/data/0": bytes(100_000_000)}
    zip_file(path, pickled({"w": Tensor(Numbers(count=25_000_000))}), big, zipfile.ZIP_DEFLATED)


def overlapping(path: Path) -> None:
    """Two records of the directory lie on the same bytes."""
    zip_file(path, GOOD, {"archive/data/0": FLOATS, "archive/data/1": FLOATS})
    data = bytearray(path.read_bytes())
    first, second = (data.rindex(name) for name in (b"archive/data/0", b"archive/data/1"))
    data[second - 4 : second] = data[first - 4 : first]  # where the local header is
    path.write_bytes(data)


def twice(path: Path) -> None:
    zip_file(path, GOOD)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", FLOATS)


def doubling(count: int) -> bytes:
    """A pickle's operations for a tuple that holds the one before it twice, and so on."""
    return b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(count))


def mark_of_python_2(path: Path) -> None:
    """An os.system of protocol 0, which is a legacy file's usual disguise."""
    path.write_bytes(f"cos\nsystem\n(S'touch {TOUCHED}'\ntR.".encode())


HOSTILE: dict[str, tuple[Hostile, str]] = {
    # what is run by who loads without care
    "os.system": (zipped({"w": Call(os.system, (f"touch {TOUCHED}",))}), "names 'posix.system'"),
    "builtins.eval": (
        zipped({"w": Call(eval, (f"open('{TOUCHED}', 'w')",))}),
        "names '__builtin__.eval'",
    ),
    "builtins.exec": (legacy({"w": Call(exec, (f"open('{TOUCHED}', 'w')",))}), "__builtin__.exec"),
    "subprocess": (
        zipped({"w": Call(subprocess.Popen, (["touch", TOUCHED],))}),
        "names 'commands.Popen'",  # its name in Python 2, which protocol 2 writes
    ),
    "open": (zipped({"w": Call(open, (TOUCHED, "w"))}), "which weights do not need"),
    "getattr": (
        zipped(
            {"w": Call(getattr, (Call(importlib.import_module, ("os",)), "system"))},
        ),
        "names '__builtin__.getattr'",
    ),
    "a name in a name": (
        lambda path: zip_file(
            path, pickled({"w": operator.attrgetter("x")}, protocol=4).replace(b"\x95", b"\x95", 1)
        ),
        "names 'operator.attrgetter'",
    ),
    "torch.hub": (raw(b"ctorch.hub\nload\nq\x00"), "names 'torch.hub.load'"),
    "torch's own loader": (
        raw(b"ctorch.storage\n_load_from_bytes\n(C\x01xtR"),
        "names 'torch.storage._load_from_bytes'",
    ),
    "dotted": (raw(b"ccollections\nOrderedDict.fromkeys\n"), "'collections.OrderedDict.fromkeys'"),
    "an extension's code": (raw(b"\x82\x01"), "operation EXT1"),
    "an instance": (raw(b"(icollections\nOrderedDict\n"), "operation INST"),
    "new": (raw(b"ccollections\nOrderedDict\n)\x81"), "operation NEWOBJ"),
    "protocol 0": (mark_of_python_2, "is no file of torch.save"),
    "an untyped tensor": (
        zipped({"w": Tensor(Numbers(kind="UntypedStorage", count=24))}),
        "does not say of which type",
    ),
    "attributes of a tensor": (
        lambda path: zip_file(path, _built(GOOD)),
        "sets attributes of a",
    ),
    "items of a list": (raw(b"]K\x00K\x01s"), "sets items of a list"),
    "a call of a text": (raw(b"X\x01\x00\x00\x00x)R"), "calls a str"),
    # what claims to be larger than it is
    "4 TiB": (
        zipped({"w": Tensor(Numbers(count=1 << 40), shape=(1 << 40,), strides=(1,))}),
        "it has 24",
    ),
    "4 TiB, legacy": (
        legacy({"w": Tensor(Numbers(count=1 << 40), shape=(1 << 40,), strides=(1,))}),
        "claims more than it has",
    ),
    "many from few": (
        zipped({f"w{n}": Tensor(shape=(1 << 30,), strides=(0,)) for n in range(3)}),
        "bytes of weights; a file of its size may hold",
    ),
    "negative offset": (zipped({"w": Tensor(offset=-1)}), "negative offset"),
    "negative size": (zipped({"w": Tensor(shape=(-2, -3))}), "negative offset"),
    "negative stride": (zipped({"w": Tensor(strides=(-3, 1))}), "negative offset"),
    "offset beyond": (zipped({"w": Tensor(offset=1)}), "beyond the end of its storage (number 7"),
    "stride beyond": (zipped({"w": Tensor(strides=(3, 2))}), "beyond the end of its storage"),
    "empty, offset beyond": (
        zipped({"w": Tensor(offset=7, shape=(0,), strides=(1,))}),
        "beyond the end",
    ),
    "sizes without strides": (zipped({"w": Tensor(strides=(3,))}), "2 sizes and 1 strides"),
    "a hundred dimensions": (
        zipped({"w": Tensor(shape=(1,) * 100, strides=(1,) * 100)}),
        "100 sizes",
    ),
    "sizes that are no numbers": (
        zipped({"w": Tensor(shape=(2.0, 3.0))}),
        "arguments that PyTorch does not write",
    ),
    "a size of 100 bits": (zipped({"w": Tensor(shape=(1 << 99,))}), "number of 100 bits"),
    "a view beyond": (
        legacy({"w": Tensor(Numbers(view=("v", 3, 6)))}),
        "beyond the end of its storage",
    ),
    "two types": (
        zipped(
            {
                "a": Tensor(),
                "b": Tensor(Numbers(count=3, kind="DoubleStorage"), shape=(3,), strides=(1,)),
            }
        ),
        "in two ways",
    ),
    # what takes time or memory without end
    "doubled tuples as a key": (
        raw(doubling(60) + b"}h%cNs" % 60),
        "has a key that is a tuple",
    ),
    "doubled tuples as a value": (
        raw(b"}X\x01\x00\x00\x00w(" + doubling(60) + b"ts"),
        "under 'w', but a value (tuple)",
    ),
    "deep": (
        raw(b"}X\x01\x00\x00\x00w]" + b"\x85" * 250_000 + b"s"),
        "under 'w', but a value (tuple)",
    ),
    "too many operations": (raw(b"(" + b"N" * 300_000 + b"t"), "operations"),
    "a long number": (raw(b"\x8b\xff\x00\x00\x00" + b"\x7f" * 255), "operation LONG4"),
    "a number in text": (raw(b"I" + b"9" * 100_000 + b"\n"), "no whole pickle"),
    "a text of 4 GB": (raw(b"X\xff\xff\xff\xff"), "no whole pickle"),
    "compressed": (bomb, "compressed record"),
    # what is no state of a model
    "a number as a key": (zipped({1: Tensor()}), "has a key that is an int"),
    "bytes as a key": (raw(b"}C\x01wNs"), "operation SHORT_BINBYTES"),
    "a number": (zipped({"w": 1.5}), "under 'w', but a value (float)"),
    "a text": (zipped({"w": "x" * 100}), "under 'w', but a value (str)"),
    "nested": (zipped({"model": {"w": Tensor()}}), "under 'model', but a value (dict)"),
    "a list": (zipped([Tensor()]), "no dictionary of tensors"),
    "a tensor": (zipped(Tensor()), "no dictionary of tensors"),
    "nothing": (zipped({}), "holds no tensors"),
    "complex": (zipped({"w": Tensor(Numbers(kind="ComplexFloatStorage"))}), "ComplexFloatStorage"),
    "quantized": (zipped({"w": Tensor(Numbers(kind="QInt8Storage"))}), "QInt8Storage"),
    "metadata of safetensors": (zipped({"__metadata__": Tensor()}), "no name of a weight"),
    "a name of two lines": (zipped({"a\nb": Tensor()}), "names a tensor 'a\\nb'"),
    "half a surrogate": (
        raw(b"}X\x03\x00\x00\x00\xed\xa0\x80Ns"),
        "under '\\ud800', but a value (NoneType)",
    ),
    "a key twice": (
        raw(b"}X\x01\x00\x00\x00wNsX\x01\x00\x00\x00wNs"),
        "has the key 'w' twice",
    ),
    # files that are not what they say
    "not a pickle at all": (lambda path: path.write_text("hello, world"), "no file of torch.save"),
    "empty": (lambda path: path.touch(), "is empty"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "no file of torch.save"),
    "a plain pickle": (lambda path: path.write_bytes(pickle.dumps({}, 2)), "no file of torch.save"),
    "tar": (tar, "is a tar file"),
    "truncated zip": (cut(200), "is no whole zip file"),
    "truncated zip, early": (cut(40), "is no whole zip file"),
    "truncated legacy": (cut(-8, old=True), "is cut off"),
    "truncated legacy, early": (cut(60, old=True), "no whole pickle"),
    "only magic": (lambda path: path.write_bytes(pickle.dumps(MAGIC, 2)), "no whole pickle"),
    "another pickle after": (
        lambda path: path.write_bytes(zip_file(path, GOOD).read_bytes() + pickle.dumps({}, 2)),
        "behind the end of its zip file",
    ),
    "another pickle after, legacy": (
        lambda path: path.write_bytes(
            legacy_file(path, pickled({"w": Tensor()}, legacy=True)).read_bytes()
            + pickle.dumps({}, 2)
        ),
        "behind its last storage",
    ),
    "another pickle in data.pkl": (
        lambda path: zip_file(path, GOOD + pickle.dumps({}, 2)),
        "behind the end of its pickle",
    ),
    "another storage's size": (
        legacy({"w": Tensor()}, data=struct.pack("<q", 5) + FLOATS),
        "two sizes",
    ),
    "a storage that is missing": (zipped({"w": Tensor(Numbers("1"))}), "has no numbers for 'w'"),
    "a storage that is missing, legacy": (legacy({"w": Tensor()}, keys=()), "other storages"),
    "two roots": (named_records({"other/data.pkl": GOOD}), "data.pkl, or several"),
    "TorchScript": (named_records({"archive/code/m.py": b""}), "which torch.save does not write"),
    "outside": (named_records({"archive/data/../../x": b""}), "which torch.save does not write"),
    "absolute": (named_records({"/etc/passwd": b""}), "which torch.save does not write"),
    "no data.pkl": (
        changed(b"archive/data.pkl", b"archive/data/pkl", "last"),
        "two names for one record",
    ),
    "byteorder": (named_records({"archive/byteorder": b"middle"}), "unknown order of bytes"),
    "overlapping": (overlapping, "two names for one record"),
    "a record twice": (twice, "twice"),
    "damaged": (changed(FLOATS[8:], b"\x01" + FLOATS[9:]), "CRC-32"),
    "encrypted": (changed(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01"), "encrypted"),
}


def _built(good: bytes) -> bytes:
    """A pickle that sets attributes of its tensor."""
    at = good.rindex(b"s.")
    return good[:at] + b"}b" + good[at:]


@pytest.mark.parametrize("kind", HOSTILE)
def test_refused_in_one_line_and_nothing_is_run(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    folder = tmp_path / "model"
    folder.mkdir()
    write, words = HOSTILE[kind]
    write(folder / "pytorch_model.bin")
    with pytest.raises(UnusableInputError) as caught:
        conversion.convert(folder, str(folder), "a1")
    line = str(caught.value)
    assert words in line
    assert line.startswith(f"{folder / 'pytorch_model.bin'} ")
    assert "\n" not in line
    assert line.isascii()
    assert len(line) < len(str(folder)) + 300
    assert caught.value.exit_code == 2
    assert not (tmp_path / TOUCHED).exists()
    assert not (tmp_path / "artifacts" / "converted").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["pytorch_model.bin"]


def test_they_would_be_run_without_care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The payloads work: a plain unpickler runs them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickled({"w": Call(os.system, (f"touch {TOUCHED}",))}))
    assert (tmp_path / TOUCHED).exists()


def test_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    zip_file(tmp_path / "elsewhere", GOOD)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "pytorch_model.bin").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnusableInputError, match="is a link"):
        conversion.convert(tmp_path / "model", "model", "a1")


def test_a_named_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    os.mkfifo(tmp_path / "pytorch_model.bin")
    with pytest.raises(UnusableInputError, match="is no file"):
        conversion.convert(tmp_path, "model", "a1")
