"""Convert a model's pickled weights to safetensors once, in a process of its own.

The result is a folder ``artifacts/converted/<model>@<revision>/`` with the model's other files and
``converted.json``: what it was made of.  It is used again while that agrees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...console import say
from ...errors import UnusableInputError
from ...files import artifacts, folder_written_whole, read_json, require_disk, sha256, write_json
from ...processes import end_with_parent, stop
from .. import layout
from ..source import file_name, folder_of, printable

RECORD = "converted.json"
FORMAT = 1
SECONDS, BYTES_A_SECOND = 60.0, 20e6  # the time limit: that long, and more for a larger file
_READER = f"{__package__}.reader"


@dataclass(frozen=True)
class Conversion:
    """A folder with converted weights.

    ``pickles`` are the files they were made of, by name with their SHA-256.
    """

    folder: Path
    pickles: Mapping[str, str]


def convert(folder: Path, model: str, revision: str) -> Conversion:
    """Return a model's folder with its pickled weights as safetensors.

    Args:
        folder: has ``pytorch_model.bin``, or an index and its shards, and the model's other files.
        model: the model's name, for the name of the converted folder.
        revision: the hub's commit, or the digest of the weights.

    The folder is written whole or not at all.  Raises UnusableInputError, with one line, if a file
    is missing or holds anything but weights.

    """
    paths = present_pickles(folder)
    pickles = {path.name: sha256(path) for path in paths}
    others = {n: sha256(folder / n) for n in layout.FILES if (folder / n).is_file()}
    target = _target(model, revision)
    made_of = {"format": FORMAT, "model": printable(model), "pickles": pickles, "others": others}
    if not _is_whole(target, made_of):
        size = sum(path.stat().st_size for path in paths)
        require_disk(artifacts(), 2 * size, f"converting {model}")
        try:
            with folder_written_whole(target) as scratch:
                _convert(folder, paths, scratch)
                for name in others:
                    shutil.copyfile(folder / name, scratch / name)
                files = {path.name: sha256(path) for path in sorted(scratch.iterdir())}
                write_json(scratch / RECORD, made_of | {"files": files})
        except BaseException:
            with suppress(OSError):  # others are in it
                target.parent.rmdir()
            raise
        what = f"{', '.join(pickles)} of {made_of['model']}"
        say(f"{what} converted to safetensors in {printable(str(target))}")
    return Conversion(target, pickles)


def present_pickles(folder: Path) -> list[Path]:
    """Return a folder's pickled weight files.

    Raises UnusableInputError if one is missing or is no ordinary file.
    """
    paths = layout.pickle_files(folder)
    for path in paths:
        _require_plain(path)
    return paths


def _target(model: str, revision: str) -> Path:
    folder = folder_of(model)
    name = file_name(folder.resolve().name if folder else model) or "model"
    return artifacts() / "converted" / f"{name}@{revision}"


def _require_plain(path: Path) -> None:
    """Raise UnusableInputError unless a file is an ordinary one, or a link of the hub's cache."""
    if not path.exists():
        raise UnusableInputError(f"{path} is missing: copy all the files of the model")
    blobs = path.absolute().parent.parent.parent / "blobs"
    if path.is_symlink() and path.resolve().parent != blobs.resolve():
        raise UnusableInputError(f"{path} is a link: name the folder that has the file itself")
    if not path.is_file():
        raise UnusableInputError(f"{path} is no file: it is not converted")


def _is_whole(target: Path, made_of: Mapping[str, Any]) -> bool:
    """Tell whether a converted folder was made of these files and is undamaged."""
    try:
        record = read_json(target / RECORD)
        files = record.pop("files")
        return bool(record == made_of) and all(
            sha256(target / name) == digest for name, digest in files.items()
        )
    except (UnusableInputError, OSError, AttributeError, KeyError, TypeError):
        return False


def _convert(folder: Path, paths: list[Path], scratch: Path) -> None:
    """Write the weights, in one file or in as many shards as there are, and their index."""
    from safetensors import safe_open

    if paths == [folder / layout.PICKLE]:
        run_reader(paths[0], scratch / layout.WEIGHTS)
        return
    weight_map: dict[str, str] = {}
    for number, path in enumerate(paths, start=1):
        shard = f"model-{number:05}-of-{len(paths):05}.safetensors"
        run_reader(path, scratch / shard)
        with safe_open(scratch / shard, framework="numpy") as stored:
            names = list(stored.keys())
        if twice := weight_map.keys() & set(names):
            raise UnusableInputError(f"{path} has {min(twice)}, which another shard has too")
        weight_map |= dict.fromkeys(names, shard)
    if weight_map.keys() != layout.pickle_names(folder):
        raise UnusableInputError(
            f"{folder / layout.PICKLE_INDEX} names other tensors than its files have:"
            " copy all the files of the model"
        )
    write_json(scratch / layout.INDEX, {"metadata": {}, "weight_map": weight_map})


def run_reader(source: Path, target: Path, seconds: float | None = None) -> None:
    """Convert one pickled file in a process of its own (:mod:`.reader`).

    ``seconds`` bounds its time; by itself it grows with the file.  Raises UnusableInputError if the
    file is refused, or if the process needs more time or memory than weights do.
    """
    limit = seconds or SECONDS + source.stat().st_size / BYTES_A_SECOND
    process = subprocess.Popen(
        # -P: a module that lies in the current folder, perhaps the model's, is not imported.
        [sys.executable, "-P", "-m", _READER, str(source), str(target), str(limit)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace", env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True, preexec_fn=end_with_parent,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise UnusableInputError(
            f"{source} takes more than {limit:.0f} s to read, which weights do not: not converted"
        ) from None
    finally:
        stop(process)
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"ended its reader ({process.returncode})"]
        raise UnusableInputError(f"{source} {last[0]}: not converted")
