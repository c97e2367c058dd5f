"""Files in PyTorch's formats that torch.save would not write, for tests of what is refused."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C
FLOATS = struct.pack("<6f", *range(6))


@dataclass
class Numbers:
    """A storage: what its persistent id claims."""

    key: str = "0"
    count: int = 6
    kind: str = "FloatStorage"
    view: Any = None


@dataclass
class Tensor:
    """A tensor: what its rebuild function is told."""

    storage: Any = None
    offset: Any = 0
    shape: Any = (2, 3)
    strides: Any = (3, 1)

    def __reduce__(self) -> Any:
        import torch

        rest = (False, OrderedDict())
        storage = Numbers() if self.storage is None else self.storage
        return (
            torch._utils._rebuild_tensor_v2,
            (storage, self.offset, self.shape, self.strides, *rest),
        )


@dataclass
class Call:
    """Any callable with arguments, called by who loads the pickle without care."""

    function: Any
    arguments: tuple[Any, ...] = ()

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class _Pickler(pickle.Pickler):
    """Writes :class:`Numbers` as torch.save writes storages."""

    legacy = False

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Numbers):
            return None
        import torch

        identity = ("storage", getattr(torch, value.kind), value.key, "cpu", value.count)
        return (*identity, value.view) if self.legacy else identity


def pickled(value: Any, *, legacy: bool = False, protocol: int = 2) -> bytes:
    """Return a pickle of tensors."""
    stream = io.BytesIO()
    pickler = _Pickler(stream, protocol)
    pickler.legacy = legacy
    pickler.dump(value)
    return stream.getvalue()


def zip_file(
    path: Path,
    pickle_bytes: bytes,
    records: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> Path:
    """Write a zip file as torch.save does: the pickle, and records (default: one storage)."""
    records = {"archive/data/0": FLOATS} if records is None else records
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes)
        for name, data in records.items():
            archive.writestr(name, data)
    return path


def legacy_file(
    path: Path,
    pickle_bytes: bytes,
    keys: Any = ("0",),
    data: bytes = struct.pack("<q", 6) + FLOATS,
) -> Path:
    """Write a file as torch.save did before 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    head = [pickle.dumps(value, 2) for value in (MAGIC, 1001, system)]
    path.write_bytes(b"".join([*head, pickle_bytes, pickle.dumps(list(keys), 2), data]))
    return path
