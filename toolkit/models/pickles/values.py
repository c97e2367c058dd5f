"""The tensors in what a pickle of weights gave."""

from __future__ import annotations

from typing import Any

from .stored import RefusedPickleError, Storage, StoredTensor, shown

MAX_PICKLE = 16 << 20  # bytes: without the numbers, a BERT of 24 layers has 60 thousand


def tensors_of(value: Any) -> dict[str, StoredTensor]:
    """Return the tensors by name; raise RefusedPickleError if there is anything else."""
    if not isinstance(value, dict):
        raise RefusedPickleError("holds no dictionary of tensors by name")
    for name, tensor in value.items():
        if not isinstance(tensor, StoredTensor):
            kind = "dict" if isinstance(tensor, dict) else type(tensor).__name__
            raise RefusedPickleError(f"has no tensor under {shown(name)}, but a value ({kind})")
    _require_one_description(value)
    return dict(value)


def _require_one_description(tensors: dict[str, StoredTensor]) -> None:
    """Raise RefusedPickleError if two tensors describe one storage differently."""
    known: dict[str, Storage] = {}
    for tensor in tensors.values():
        storage = tensor.storage
        first = known.setdefault(storage.key, storage)
        if (first.element, first.count) != (storage.element, storage.count):
            raise RefusedPickleError(f"describes the storage {shown(storage.key)} in two ways")
