"""Where a model comes from, and the digests of the files of a model's folder.

A digest is kept together with the file's size, times and inode, and is used again as long as all of
them are unchanged.  ``cp -p``, ``rsync`` and ``touch`` can restore the size and the time of the
content, but no program can set the time at which the inode changed (``ctime``).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import UnusableInputError
from ..files import artifacts, read_json, sha256, write_json
from . import layout

LONGEST = 120  # bytes of a name: file systems take 255, some only 143
# Not in the name of what we write, because of shells and other systems.
UNFIT = re.compile(r"""[\s/\\:*?"'<>|@$`]+""")
SETTLED = 2_000_000_000  # nanoseconds: the coarsest clock of a file system in use (FAT)


def is_builtin(name: str) -> bool:
    """Tell whether a name is a built-in model's."""
    from .builtin.catalogue import NAMES  # here: it imports the families

    return name in NAMES


def folder_of(name: str) -> Path | None:
    """Return the folder that a model's name means, None for a built-in or hub model's name.

    It may not exist: a name is also a path if only a path can be written like this.
    """
    looks_like_path = name.startswith((".", "/", "~")) or name.endswith("/") or "\\" in name
    if is_builtin(name) or not name or not (looks_like_path or os.path.exists(name)):
        return None
    return Path(os.path.expanduser(name))


def require_no_revision(name: str, revision: str | None) -> None:
    """Raise UnusableInputError if a revision is given for a model that is not the hub's."""
    if not revision:
        return
    if not name or is_builtin(name) or folder_of(name) is not None:
        what = f"{name} has" if name else "a file of your own has"
        raise UnusableInputError(f"{what} no revisions (only hub models have them): leave it out")


def printable(name: str) -> str:
    """Return a name that can be written as one line of UTF-8; nearly all names stay as they are."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "-" for char in text)


def file_name(name: str) -> str:
    """Return a name as part of the name of a file, short enough and as readable as can be.

    >>> file_name("模型 v1"), file_name("org/model")
    ('模型-v1', 'org--model')
    """
    name = unicodedata.normalize("NFC", printable(name.replace("/", "--")))
    name = UNFIT.sub("-", name).strip("-. ")
    name = name.encode(errors="replace")[:LONGEST].decode(errors="ignore")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a locale other than UTF-8
        name = name.encode("ascii", "ignore").decode()
    return name


def source_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a model is read from, by name; missing ones not."""
    kept = _kept_path(folder)
    known = _read_kept(kept)
    digests: dict[str, str] = {}
    settled: dict[str, object] = {}
    for path in layout.source_files(folder):
        before = _state(path)
        entry = known.get(path.name)
        same = isinstance(entry, dict) and entry.get("state") == before
        digests[path.name] = str(entry["sha256"]) if same and entry else sha256(path)
        changed = max(before[-2:])
        if before == _state(path) and time.time_ns() - changed > SETTLED:
            settled[path.name] = {"state": before, "sha256": digests[path.name]}
    if settled != known:
        with suppress(OSError):  # it only saves time
            write_json(kept, settled)
    return digests


def _kept_path(folder: Path) -> Path:
    """Return the file in which a folder's digests are kept."""
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return artifacts() / "sources" / f"{name}.json"


def _read_kept(path: Path) -> Mapping[str, dict[str, object]]:
    try:
        data = read_json(path)
    except UnusableInputError:
        return {}
    return data if isinstance(data, dict) else {}


def _state(path: Path) -> list[int]:
    """Return what changes when a file does; the last two are its times in nanoseconds."""
    state = path.stat()
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
