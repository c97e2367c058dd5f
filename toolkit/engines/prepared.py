"""A model as an engine has prepared it for this machine, kept on disk: sessions share it.

Before an engine can run a model, it rearranges ("packs") the weights for the kernels of this CPU.
That takes time, and each session has its own.  Kept on disk, it is done once for a machine.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UnusableInputError
from ..files import artifacts, crc32, folder_written_whole, read_json, require_disk, write_json
from ..machine import processor

FORMAT = 4  # 1: with all outputs; 2: sums were SHA-256; 3: padded only
SUMS = "sums.json"
KEPT_SECONDS = 30 * 24 * 3600.0  # without use
LARGER = 2.2  # the prepared model over the model: it may hold its weights packed and as they were

Write = Callable[[Path], None]
"""Writes the prepared form of a model as files of a folder."""


class NotPreparedError(UnusableInputError):
    """A model cannot be kept prepared here."""


def find(digest: str, library: str) -> Path | None:
    """Return the folder of a model's prepared form; None if it is not there undamaged."""
    try:
        folder = _place(digest, library)
    except ModuleNotFoundError:  # the library is not installed
        return None
    return folder if _undamaged(folder) else None


def prepare(path: Path, digest: str, library: str, write: Write) -> Path:
    """Return the folder of a model's prepared form; it is written if it is not there undamaged.

    Args:
        path: the model's file.
        digest: says which model it is.
        library: the engine's distribution: another version prepares otherwise.
        write: writes the files.

    Raises NotPreparedError if there is no room for them or ``write`` fails.

    """
    folder = _place(digest, library)
    try:
        with _one_at_a_time(folder.parent):
            if not _undamaged(folder):
                _remove_unused(folder.parent)
                _write(path, folder, write)
    except Exception as error:  # the libraries' errors share no public base class
        first = (str(error) or repr(error)).splitlines()[0]
        raise NotPreparedError(f"{path.name} cannot be kept prepared: {first}") from None
    return folder


@contextmanager
def _one_at_a_time(parent: Path) -> Iterator[None]:
    """Let servers that start at the same time wait for the one that writes."""
    if parent.is_dir() and not os.access(parent, os.W_OK):
        yield  # made by somebody else: there is nothing to write
        return
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _place(digest: str, library: str) -> Path:
    """Return the folder, named by what it depends on: model, library, kind of machine."""
    from importlib.metadata import version  # here: while it is imported others are already at work

    parts = [FORMAT, digest, library, version(library), *processor().values()]
    return artifacts() / "prepared" / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _undamaged(folder: Path) -> bool:
    """Tell whether all is there as it was written; if so, it counts as used now."""
    try:
        sound = bool(_sums(folder) == read_json(folder / SUMS))
    except (UnusableInputError, OSError):
        return False
    with suppress(OSError):  # a folder made by somebody else: it is used as it is
        os.utime(folder)
    return sound


def _sums(folder: Path) -> dict[str, str]:
    return {file.name: crc32(file) for file in sorted(folder.iterdir()) if file.name != SUMS}


def _write(path: Path, folder: Path, write: Write) -> None:
    size = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    require_disk(folder.parent, int(size * LARGER), f"keeping {path.name} prepared")
    with folder_written_whole(folder) as scratch:
        write(scratch)
        write_json(scratch / SUMS, _sums(scratch))


def _remove_unused(parent: Path) -> None:
    for entry in parent.glob("[!.]*/"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > KEPT_SECONDS:
                _facts(entry).unlink(missing_ok=True)
                shutil.rmtree(entry)


def recall(folder: Path, name: str) -> object:
    """Return what was remembered of a prepared form under a name; None if nothing was."""
    try:
        return _read_facts(folder).get(name)
    except UnusableInputError:
        return None


def remember(folder: Path, name: str, value: object) -> None:
    """Keep a JSON value, measured with a prepared form on this machine, for the next start.

    Where nothing can be written nothing is kept.
    """
    with suppress(OSError):
        try:
            facts = _read_facts(folder)
        except UnusableInputError:
            facts = {}
        write_json(_facts(folder), facts | {name: value})


def _facts(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.json")


def _read_facts(folder: Path) -> dict[str, object]:
    facts = read_json(_facts(folder))
    return facts if isinstance(facts, dict) else {}
