"""A model as ONNX Runtime has prepared it for this machine, kept on disk: sessions share it.

A session rearranges ("packs") the weights for the kernels of this CPU.  That takes time, and each
session has its own.  Written down once, packed weights are mapped instead: any number of sessions
of one process, or of several, has them in memory once, and none has to pack.  (ONNX Runtime's
``session.save_external_prepacked_constant_initializers``.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from .errors import UnusableInputError
from .files import (
    artifacts,
    folder_written_whole,
    read_json,
    require_disk,
    sha256,
    write_json,
)
from .machine import fingerprint

FORMAT = 1
MODEL, WEIGHTS, SUMS = "model.onnx", "weights.bin", "sums.json"
KEPT_SECONDS = 30 * 24 * 3600.0  # without use
MACHINE = ("cpu", "cpu_family", "architecture", "isa")
LARGER = 2.2  # the prepared model over the model: its weights are there packed and as they were

Write = Callable[[Path, Path, str], None]
"""Writes the prepared form of an ONNX file as a file of that path and weights of that name."""


class NotPreparedError(UnusableInputError):
    """A model cannot be kept prepared here."""


def prepare(path: Path, digest: str, write: Write) -> Path:
    """Return the prepared form of an ONNX file; it is written if it is not there undamaged.

    Args:
        path: the ONNX file.
        digest: says which model it is.
        write: writes the prepared form.

    Raises NotPreparedError if there is no room for it or ``write`` fails.

    """
    folder = artifacts() / "prepared" / _key(digest)
    try:
        if not _undamaged(folder):
            _remove_unused(folder.parent)
            _write(path, folder, write)
        os.utime(folder)
    except Exception as error:  # the library's errors share no public base class
        first = (str(error) or repr(error)).splitlines()[0]
        raise NotPreparedError(f"{path.name} cannot be kept prepared: {first}") from None
    return folder / MODEL


def _key(digest: str) -> str:
    """Return what the prepared form depends on, in a name: model, library, kind of machine."""
    machine = fingerprint()
    parts = [FORMAT, digest, metadata.version("onnxruntime"), *(machine[name] for name in MACHINE)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _undamaged(folder: Path) -> bool:
    try:
        sums = read_json(folder / SUMS)
        return bool(sums == {name: sha256(folder / name) for name in (MODEL, WEIGHTS)})
    except (UnusableInputError, OSError):
        return False


def _write(path: Path, folder: Path, write: Write) -> None:
    size = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    require_disk(folder.parent, int(size * LARGER), f"keeping {path.name} prepared")
    with folder_written_whole(folder) as scratch:
        write(path, scratch / MODEL, WEIGHTS)
        write_json(scratch / SUMS, {name: sha256(scratch / name) for name in (MODEL, WEIGHTS)})


def _remove_unused(parent: Path) -> None:
    for entry in parent.glob("*"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(entry)
