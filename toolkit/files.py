"""Files: atomic writes, digests, and checks of free disk space and memory."""

from __future__ import annotations

import codecs
import ctypes
import gc
import json
import mmap
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UnusableInputError

KIBIBYTE, MEBIBYTE = 1024, 1024 * 1024
ARTIFACTS = "TIANKONG_ARTIFACTS"
PACKAGE = Path(__file__).parents[1]
MARKS = {  # how texts that are not UTF-8 begin, the longer marks first
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
BYTE_ORDER_MARK = "\ufeff"
SCRATCH: set[Path] = set()  # folders that this process is writing just now


def artifacts_path() -> Path:
    """Return the path for all results (``TIANKONG_ARTIFACTS``, else ./artifacts), unchecked.

    For servers, which do without what cannot be kept there.
    """
    return Path(os.environ.get(ARTIFACTS, "artifacts"))


def artifacts() -> Path:
    """Return the folder for all results.

    Raises UnusableInputError if something that is no folder has this path.
    """
    place = artifacts_path()
    if place.exists() and not place.is_dir():
        raise UnusableInputError(f"{place} is no folder: set {ARTIFACTS} to one, or move it away")
    return place


def package_path(name: str) -> Path:
    """Return a file or folder of the package; ``name`` is its path from the package's root."""
    return PACKAGE / name


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    import hashlib  # here: the help of the command line needs none

    with _content(path) as content:
        return hashlib.sha256(content).hexdigest()


def crc32(path: Path) -> str:
    """Return a file's hexadecimal CRC-32: half SHA-256's time, detects damage, not forgery."""
    with _content(path) as content:
        return f"{zlib.crc32(content):08x}"


@contextmanager
def _content(path: Path) -> Iterator[bytes | mmap.mmap]:
    """Yield a file's bytes, memory-mapped: one call hashes them all while other threads run."""
    with path.open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:
            yield b""  # an empty file cannot be mapped
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file by way of a temporary one and a rename: readers see the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with naming(path):
            temporary.write_bytes(content)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file by way of a temporary one and a rename, as :func:`write_bytes` writes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with naming(target):
            shutil.copyfile(source, temporary)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file or folder in the system's errors that name none: those of writing to it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_json(path: Path, data: object) -> None:
    """Write one JSON document (UTF-8, indented) atomically."""
    write_text(path, json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def read_text(path: Path, named: str = "") -> str:
    """Return a text that a person may have saved: UTF-8, without a byte order mark before it.

    Line ends stay as they are.  ``named`` is what an error calls the file, instead of its path.
    Raises UnusableInputError if it is missing, unreadable or not UTF-8, which is then named.
    """
    named = named or str(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UnusableInputError(f"{named} does not exist") from None
    except OSError as error:
        raise UnusableInputError(f"{named} cannot be read: {error.strerror}") from None
    other = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    if other is None and b"\0" in data[:4]:
        other = "UTF-16"  # without a mark: ASCII characters have a zero beside them
    if other is not None:
        raise UnusableInputError(f"{named} cannot be read: it is {other}, save it as UTF-8")
    try:
        return data.decode("utf-8").lstrip(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnusableInputError(
            f"{named} cannot be read: line {line} is not UTF-8, save it as UTF-8"
        ) from None


def read_json(path: Path) -> Any:
    """Return a JSON document; raise UnusableInputError if it is missing or is not JSON."""
    text = read_text(path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableInputError(f"{path} cannot be read as JSON: {error}") from None
    if r"\ud" in text.lower() and (half := half_surrogate(json.dumps(data, ensure_ascii=False))):
        raise UnusableInputError(f"{path} cannot be read as JSON: it has half a surrogate, {half}")
    return data


def half_surrogate(text: object) -> str:
    r"""Return the escape of a surrogate that stands alone in a text; without one, an empty string.

    JSON can write it, but no file and no terminal takes it.

    >>> print(half_surrogate("\ud83d"), half_surrogate("上") == half_surrogate(None) == "")
    \ud83d True
    """
    half = re.search("[\ud800-\udfff]", text) if isinstance(text, str) else None
    return f"\\u{ord(half[0]):04x}" if half else ""


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Yield a scratch folder that replaces ``folder`` when the block succeeds.

    If the block raises (or is interrupted), the scratch folder is removed and ``folder`` stays
    as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    previous = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    shutil.rmtree(scratch, ignore_errors=True)
    SCRATCH.add(scratch)
    try:
        with naming(folder):
            scratch.mkdir()
            yield scratch
            _let_all_read(scratch)
        if folder.exists():
            folder.replace(previous)
        scratch.replace(folder)
        shutil.rmtree(previous, ignore_errors=True)
    finally:
        if previous.exists() and not folder.exists():  # stopped between the two renames
            previous.replace(folder)
        shutil.rmtree(scratch, ignore_errors=True)
        SCRATCH.discard(scratch)


def _let_all_read(folder: Path) -> None:
    """Give files the rights that the umask leaves: some libraries write theirs for the owner only.

    A server often runs as another user.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o644 & ~mask))


def remove_scratch() -> None:
    """Remove the folders that this process is writing (:func:`folder_written_whole`).

    For the end of a process whose other threads cannot be waited for: they fail from then on.
    """
    for scratch in tuple(SCRATCH):
        gone = scratch.with_suffix(".gone")  # so that its thread can add nothing to it
        with suppress(OSError):
            scratch.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def require_disk(folder: Path, need: int, what: str) -> None:
    """Raise UnusableInputError unless the disk of ``folder`` has ``need`` bytes free."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < need:
        raise UnusableInputError(
            f"{what} needs {need / MEBIBYTE:.0f} MiB of disk, {place} has {free / MEBIBYTE:.0f} MiB"
            " free: make room, or set TIANKONG_ARTIFACTS to a larger disk"
        )


def require_memory(need: int, what: str) -> None:
    """Raise UnusableInputError unless ``need`` bytes of memory are available."""
    import psutil

    available = psutil.virtual_memory().available
    if available < need:
        raise UnusableInputError(
            f"{what} needs about {need / MEBIBYTE:.0f} MiB of memory,"
            f" {available / MEBIBYTE:.0f} MiB are available: close other programs"
            " or use a larger machine"
        )


def give_memory_back() -> None:
    """Return freed memory to the system: glibc keeps freed blocks of up to 32 MB.

    Without glibc's ``malloc_trim`` only Python's garbage is collected.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
