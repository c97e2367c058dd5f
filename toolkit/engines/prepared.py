"""The prepared form of a model: what an engine makes of it for this machine, cached on disk.

Before an engine can run a model, it rearranges ("packs") the weights for the kernels of this CPU.
That takes time, and each session would hold a copy of its own.  From the cache, sessions share one
copy, and a machine prepares a model once.
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
from ..files import artifacts_path, crc32, folder_written_whole, read_json, require_disk, write_json
from ..machine import processor

FORMAT = 4  # 1 had all outputs, 2 had SHA-256 sums, 3 had no unpadded graph
SUMS = "sums.json"
KEPT_SECONDS = 30 * 24 * 3600.0  # a form that was not used for so long is removed
# Size of a prepared form over the model's, at most: it may hold weights both packed and unpacked.
LARGER = 2.2

Write = Callable[[Path], None]
"""Writes the prepared form of a model as files of a folder."""


class NotPreparedError(UnusableInputError):
    """A model's prepared form cannot be stored here."""


def find(digest: str, library: str) -> Path | None:
    """Return the folder of a model's prepared form; None if it is missing or damaged."""
    try:
        folder = _folder(digest, library)
    except ModuleNotFoundError:  # the library is not installed
        return None
    return folder if _undamaged(folder) else None


def prepare(path: Path, digest: str, library: str, write: Write) -> Path:
    """Return the folder of a model's prepared form; write it if it is missing or damaged.

    Args:
        path: the model's file.
        digest: identifies the model.
        library: the engine's distribution, whose version is part of the key.
        write: writes the files.

    Raises NotPreparedError if the disk has no room for them or ``write`` fails.

    """
    folder = _folder(digest, library)
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
    """Lock the folder: of servers that start together one writes, the others wait."""
    if parent.is_dir() and not os.access(parent, os.W_OK):
        yield  # another user's folder: nothing can be written here
        return
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _folder(digest: str, library: str) -> Path:
    """Return the folder; its name is a hash of model, library, version and kind of CPU."""
    from importlib.metadata import version  # here: imported in a thread while others work

    parts = [FORMAT, digest, library, version(library), *processor().values()]
    return (
        artifacts_path() / "prepared" / hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
    )


def _undamaged(folder: Path) -> bool:
    """Tell whether all files match their checksums; if so, mark the folder as used now."""
    try:
        sound = bool(_sums(folder) == read_json(folder / SUMS))
    except (UnusableInputError, OSError):
        return False
    with suppress(OSError):  # another user's folder cannot be marked
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
    """Return the value stored under a name for a prepared form; None if there is none."""
    try:
        return _read_facts(folder).get(name)
    except UnusableInputError:
        return None


def remember(folder: Path, name: str, value: object) -> None:
    """Store a JSON value, measured with a prepared form on this machine, for the next start.

    If nothing can be written, the value is dropped.
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
