"""What a pickled file says of its tensors, and whether its bytes can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_DIMENSIONS = 8
MAX_NAME = 500  # characters


class RefusedPickleError(Exception):
    """A file does not hold weights and nothing else; the text continues a sentence after a path."""


@dataclass(frozen=True)
class ElementType:
    """A type of numbers: PyTorch's storage class, the name of the dtype, bytes a number.

    An untyped storage has no dtype: its numbers are bytes.
    """

    storage: str
    name: str
    size: int


ELEMENT_TYPES = {
    kind.storage: kind
    for kind in (
        ElementType("FloatStorage", "float32", 4),
        ElementType("HalfStorage", "float16", 2),
        ElementType("BFloat16Storage", "bfloat16", 2),
        ElementType("DoubleStorage", "float64", 8),
        ElementType("LongStorage", "int64", 8),
        ElementType("IntStorage", "int32", 4),
        ElementType("ShortStorage", "int16", 2),
        ElementType("CharStorage", "int8", 1),
        ElementType("ByteStorage", "uint8", 1),
        ElementType("BoolStorage", "bool", 1),
        ElementType("UntypedStorage", "", 1),
    )
}
"""The storage classes that are read.  Complex and quantized numbers are refused."""
NEWER_TYPES = {
    kind.name: kind
    for kind in (
        ElementType("", "uint16", 2),
        ElementType("", "uint32", 4),
        ElementType("", "uint64", 8),
        ElementType("", "float8_e4m3fn", 1),
        ElementType("", "float8_e5m2", 1),
    )
}
"""Types without a storage class: their tensors name the type, their storages are untyped bytes."""


@dataclass(frozen=True)
class Storage:
    """A run of ``count`` numbers that tensors share, as the pickle describes it.

    ``key`` names its bytes in the file.  A view (legacy files have them) is ``length`` numbers from
    number ``begin`` on; a whole storage begins at 0.
    """

    key: str
    element: ElementType
    count: int
    begin: int
    length: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor as the pickle describes it: numbers of a storage, by offset, shape and strides."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """How many bytes its numbers take when each is written once."""
        return self.count * self.storage.element.size


@dataclass(frozen=True)
class Place:
    """Where the bytes of a storage are in the file."""

    offset: int
    length: int


@dataclass(frozen=True)
class StoredWeights:
    """The content of a pickled file: tensors by name, and the places of storages by key.

    ``swapped``: the numbers are in big-endian order.
    """

    tensors: Mapping[str, StoredTensor]
    places: Mapping[str, Place]
    swapped: bool = False


def require_inside(weights: StoredWeights, most: int) -> None:
    """Raise RefusedPickleError unless every tensor lies within its storage's bytes.

    ``most`` is how many bytes the tensors may take together: many tensors can share a few bytes.
    """
    if not weights.tensors:
        raise RefusedPickleError("holds no tensors")
    for name, tensor in weights.tensors.items():
        _require_name(name)
        _require_storage(tensor.storage, weights.places.get(tensor.storage.key), name)
        _require_bounds(tensor, name)
    total = sum(tensor.bytes for tensor in weights.tensors.values())
    if total > most:
        raise RefusedPickleError(
            f"describes {total} bytes of weights; a file of its size may hold {most}"
        )


def _require_name(name: str) -> None:
    if not name.isprintable() or not 0 < len(name) <= MAX_NAME or name == "__metadata__":
        raise RefusedPickleError(f"names a tensor {shown(name)}, which is no name of a weight")


def _require_storage(storage: Storage, place: Place | None, name: str) -> None:
    """Hold what the pickle says of a storage to the bytes that the file has for it."""
    if place is None:
        raise RefusedPickleError(f"has no numbers for {shown(name)} (storage {shown(storage.key)})")
    need = storage.count * storage.element.size
    if place.length != need:
        raise RefusedPickleError(
            f"says that the storage of {shown(name)} has {need} bytes; it has {place.length}"
        )
    if storage.begin + storage.length > storage.count:
        raise RefusedPickleError(f"takes {shown(name)} from beyond the end of its storage")


def _require_bounds(tensor: StoredTensor, name: str) -> None:
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or len(shape) > MAX_DIMENSIONS:
        raise RefusedPickleError(
            f"gives {shown(name)} {len(shape)} sizes and {len(strides)} strides"
            f" (equally many, at most {MAX_DIMENSIONS}, are read)"
        )
    if min((tensor.offset, *shape, *strides)) < 0:
        raise RefusedPickleError(f"gives {shown(name)} a negative offset, size or stride")
    steps = zip(shape, strides, strict=True)
    if not tensor.storage.element.name:
        raise RefusedPickleError(f"does not say of which type {shown(name)} is")
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    end = tensor.offset if tensor.count == 0 else last + 1
    if end > tensor.storage.length:
        raise RefusedPickleError(
            f"takes {shown(name)} from beyond the end of its storage"
            f" (number {end} of {tensor.storage.length})"
        )


def shown(text: str) -> str:
    """Return a text of the file as it may stand in a message: short, one line, ASCII."""
    return ascii(text if len(text) <= 80 else text[:80] + "...")
