"""Where an ONNX file keeps weights outside itself, and whether they may be read from there.

These are the only rules for it; they apply to a variant's folder and to a file that a user brings.

The places are read without the onnx package: the serving environment lacks it, and ONNX Runtime's
own protobuf classes cannot be reached from Python.  An ONNX file is one protobuf message; this
walks its wire format (protobuf.dev, "Encoding") along the messages that can hold a tensor
(onnx.proto of ONNX 1.23) and skips the rest, so a file of 400 MB is never held in memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import UnusableInputError

IN_MEMORY = "_ORT_MEM_ADDR_"  # ONNX Runtime reads its own memory at such a "place"

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
MAX_TAG_BITS = 32
MAX_DEPTH = 100  # of nested messages: the limit of protobuf's own readers

# The fields of a message that can contain a tensor, and the type of message in each (onnx.proto's
# names without Proto).
PATHS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor",
    },
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}  # fmt: skip
GRAPH = 7  # of a Model
LOCATION = 14  # of a Tensor: 1 means that its bytes lie elsewhere
KEY, VALUE = 1, 2  # of an Entry


class WireError(ValueError):
    """The bytes are no protobuf message, or not that of an ONNX model."""


def external_files(path: Path, *, hub_links: bool = False) -> dict[str, Path]:
    """Return the files an ONNX file keeps weights in, by the names it gives them.

    Every one of them is a regular file below the ONNX file's folder, and no symbolic link leads to
    it.  ``hub_links`` allows one kind of link: in a snapshot of the hub's cache a file is a link to
    one of the repository's blobs.  It is for a file that a user brings, which may lie there.  A
    variant's folder holds copies, so there any link is damage.

    Raises UnusableInputError for weights anywhere else, and if the file is no ONNX file.
    """
    try:
        places = external_locations(path)
    except WireError as error:
        raise UnusableInputError(f"{path} is no ONNX file ({error}): export it again") from None
    except OSError as error:
        raise UnusableInputError(f"{path} cannot be read: {error.strerror}") from None
    return {place: _file_at(path, place, hub_links) for place in places}


def leaves_folder(name: str) -> bool:
    """Tell whether a relative name leaves its folder, on any system."""
    return (
        PurePosixPath(name).is_absolute()
        or bool(PureWindowsPath(name).anchor)
        or ".." in PureWindowsPath(name).parts  # both kinds of slash
    )


def _file_at(path: Path, place: str, hub_links: bool) -> Path:
    what = f"{path} keeps weights in {place!r}"
    # Windows' separator: one system would look in a folder, another for a file of that name.
    if not place or leaves_folder(place) or IN_MEMORY in place or set(place) & {"\\", "\0"}:
        raise UnusableInputError(f"{what}, outside its folder: save it with its weights beside it")
    file = path.parent / place
    if not file.is_file():
        raise UnusableInputError(f"{what}, which is missing or is not a file")
    links = [part for part in _parts(path.parent, place) if part.is_symlink()]
    if links and not (hub_links and links == [file] and _is_blob(file)):
        raise UnusableInputError(
            f"{what}, a symbolic link: copy the model with its weights into one folder"
        )
    return file


def _parts(folder: Path, name: str) -> Iterator[Path]:
    """Yield every folder on the path to a file, and the file."""
    for part in Path(name).parts:
        folder = folder / part
        yield folder


def _is_blob(link: Path) -> bool:
    """Tell whether a link in a snapshot of the hub's cache leads to a blob of its repository."""
    return any(
        folder.name == "snapshots"
        and folder.parent.name.startswith("models--")
        and link.resolve().parent == folder.parent / "blobs"
        for folder in link.parent.resolve().parents
    )


def external_locations(path: Path) -> list[str]:
    """Return the places outside the file that its tensors name, in order, without repetition.

    A tensor outside the file that names no place gives ``""``.  Raises WireError if the file is no
    ONNX model, OSError if it cannot be read.
    """
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise WireError("it is empty")
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if all(field != GRAPH for field, _, _, _ in _fields(data, 0, len(data))):
                raise WireError("it has no graph")
            return list(dict.fromkeys(_locations(data, 0, len(data), "Model", 0)))


def _locations(data: mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise WireError("its messages are nested too deep")
    external, named = False, False
    for field, wire, begin, stop in _fields(data, start, end):
        inner = PATHS[kind].get(field)
        if inner == "Entry" and wire == BYTES:
            for place in _location(data, begin, stop):
                named = True
                yield place
        elif inner is not None and wire == BYTES:
            yield from _locations(data, begin, stop, inner, depth + 1)
        elif kind == "Tensor" and field == LOCATION and wire == VARINT:
            external = _varint(data, begin, stop)[0] != 0
    if external and not named:
        yield ""


def _location(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    """Yield the value of a key-value entry if its key is ``location``."""
    texts = {
        field: data[begin:stop] for field, wire, begin, stop in _fields(data, start, end)
        if wire == BYTES
    }  # fmt: skip
    if texts.get(KEY) == b"location":
        yield texts.get(VALUE, b"").decode("utf-8", "backslashreplace")


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the number, wire type, and begin and end of the payload of each field."""
    place = start
    while place < end:
        tag, place = _varint(data, place, end)
        if tag >> MAX_TAG_BITS:  # ONNX Runtime drops higher bits and reads another field
            raise WireError(f"byte {place} begins no field of an ONNX file")
        field, wire = tag >> 3, tag & 7
        begin = place
        if wire == VARINT:
            _, place = _varint(data, place, end)
        elif wire == BYTES:
            size, begin = _varint(data, place, end)
            place = begin + size
        elif wire in (FIXED64, FIXED32):
            place += 8 if wire == FIXED64 else 4
        else:
            raise WireError(f"byte {place} begins no field of an ONNX file")
        if place > end or field == 0:
            raise WireError(f"it is cut off or damaged at byte {begin}")
        yield field, wire, begin, place


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return a varint and where it ends."""
    value = 0
    for count in range(MAX_VARINT_BYTES):
        if place + count >= end:
            raise WireError(f"it is cut off at byte {place}")
        byte = data[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise WireError(f"byte {place} begins no number")
