"""Check that the files of a folder are safe to load: nothing outside, no pickles, none unlisted.

The checks need no engine and run before one opens a file, because ONNX Runtime, PyTorch and
OpenVINO also open files other than the one they are given.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import UnusableInputError
from .external_data import external_files, leaves_folder

# Formats that are pickles or can contain one: reading it can run code.
PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy")
PICKLED_NAME = re.compile(r"(pytorch_model|adapter_model|training_args).*\.bin")
SAFETENSORS = ".safetensors"
HEADER_LIMIT = 100_000_000  # bytes, the limit of the safetensors library
# Hidden files of other programs; the manifest, and its temporary file while it is written.
IGNORED = re.compile(r"\..*|variant\.json(\.\d+\.part)?")


def require_sound(folder: Path, file: str, listed: Collection[str] | None = None) -> None:
    """Raise UnusableInputError unless loading a model file reads nothing else than its own files.

    Args:
        folder: where the file lies; the only folder it may take weights from.
        file: the model file's name relative to ``folder`` (``onnx/model.onnx``).
        listed: names (relative, POSIX) of the files that belong to it; None: any in the folder.

    An ONNX file's external data must be regular files in the folder (see :mod:`.external_data`);
    a safetensors file must have a valid header; a pickle is refused.

    """
    path = folder / file
    if leaves_folder(file):
        raise UnusableInputError(f"{path} lies outside its folder: copy it into the folder")
    if not path.is_file():
        raise UnusableInputError(f"{path} is missing or is not a file")
    _refuse_pickle(path)
    if path.suffix == SAFETENSORS:
        _require_safetensors(path)
    elif path.suffix == ".onnx":
        _require_own_data(folder, file, listed)


def require_listed(folder: Path, files: Collection[str]) -> None:
    """Raise UnusableInputError if a variant's folder holds what its manifest does not list.

    An engine might load a file that is not listed.  Nothing in the folder may be a symbolic link or
    a pickle, listed or not.  (A listed file that is missing fails the check of digests.)
    """
    for name in _walk(folder):
        path = folder / name
        if path.is_symlink():
            raise UnusableInputError(
                f"{path} is a symbolic link: a variant's files lie in its folder, build it again"
            )
        if path.is_dir() or IGNORED.fullmatch(path.name):
            continue
        _refuse_pickle(path)
        if name not in files:
            raise UnusableInputError(
                f"{path} is not in the manifest: remove it, or build the variant again"
            )


def require_sound_all(folder: Path, files: Collection[str], file: str) -> None:
    """Call :func:`require_sound` for each model file of a variant; its engine loads ``file``."""
    if file not in files:
        raise UnusableInputError(f"{folder}: its manifest does not list {file}: build it again")
    for name in files:
        if name == file or name.endswith((".onnx", SAFETENSORS)):
            require_sound(folder, name, files)


def _walk(folder: Path) -> Iterator[str]:
    """Yield the relative names of everything in a folder, links not followed."""
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in sorted([*folders, *files]):
            yield (Path(place) / name).relative_to(folder).as_posix()


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLED or PICKLED_NAME.fullmatch(path.name):
        raise UnusableInputError(
            f"{path} is or may hold a pickle, which can run code: save the weights as safetensors"
        )


def _require_safetensors(path: Path) -> None:
    """Read the header: eight bytes of length, then one JSON object (safetensors' format page)."""
    advice = "save the weights as safetensors"
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 2 <= size <= min(HEADER_LIMIT, path.stat().st_size - 8):
            raise UnusableInputError(f"{path} is no safetensors file (a pickle?): {advice}")
        try:
            header = json.loads(stream.read(size).decode("utf-8"))
        except ValueError:
            raise UnusableInputError(
                f"{path} is no safetensors file (its header is not JSON): {advice}"
            ) from None
    if not isinstance(header, dict):
        raise UnusableInputError(f"{path} is no safetensors file (no table of tensors): {advice}")


def _require_own_data(folder: Path, file: str, listed: Collection[str] | None) -> None:
    path = folder / file
    for place, data in external_files(path).items():
        if listed is not None and data.relative_to(folder).as_posix() not in listed:
            raise UnusableInputError(
                f"{path} keeps weights in {place!r}, which its manifest does not list:"
                " build it again"
            )
