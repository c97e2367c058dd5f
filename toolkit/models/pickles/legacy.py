"""PyTorch's files before 1.6: five pickles, then the numbers of each storage.

The pickles are a magic number, a protocol version, a description of the machine, the weights, and
the list of storages.  A storage is its count (int64) and its numbers, little-endian on any machine.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from .machine import read_pickle
from .stored import Place, RefusedPickleError, Storage, StoredTensor, StoredWeights, shown
from .values import MAX_PICKLE, tensors_of

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_COUNT = struct.Struct("<q")


def read_legacy(stream: BinaryIO, size: int) -> StoredWeights:
    """Return what a legacy file of ``torch.save`` holds; raise RefusedPickleError."""
    head = io.BytesIO(stream.read(MAX_PICKLE))
    if read_pickle(head) != MAGIC or read_pickle(head) != PROTOCOL:
        raise RefusedPickleError("is no file of torch.save")
    if not isinstance(read_pickle(head), dict):
        raise RefusedPickleError("is no file of torch.save")
    tensors = tensors_of(read_pickle(head))
    keys = read_pickle(head)
    storages = _storages(tensors)
    if (
        type(keys) is not list
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise RefusedPickleError("lists other storages than its tensors use")
    places: dict[str, Place] = {}
    offset = head.tell()
    for key in keys:
        stream.seek(offset)
        head_of_storage = stream.read(_COUNT.size)
        storage = storages[key]
        place = Place(offset + _COUNT.size, storage.count * storage.element.size)
        offset = place.offset + place.length
        if len(head_of_storage) < _COUNT.size or offset > size:
            raise RefusedPickleError(
                f"is cut off, or claims more than it has (storage {shown(key)})"
            )
        if _COUNT.unpack(head_of_storage) != (storage.count,):
            raise RefusedPickleError(f"has two sizes for the storage {shown(key)}")
        places[key] = place
    if offset != size:
        raise RefusedPickleError(f"has {size - offset} bytes behind its last storage")
    return StoredWeights(tensors, places)


def _storages(tensors: dict[str, StoredTensor]) -> dict[str, Storage]:
    for name, tensor in tensors.items():
        if not tensor.storage.element.storage:
            kind = tensor.storage.element.name
            raise RefusedPickleError(
                f"has {shown(name)} in {kind}, which PyTorch itself does not read in legacy files"
            )
    return {tensor.storage.key: tensor.storage for tensor in tensors.values()}
