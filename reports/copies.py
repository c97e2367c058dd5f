"""Copies of run files beside the pages that were made from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..toolkit.errors import UnusableInputError
from ..toolkit.files import copy_file

BLOCK = 1024 * 1024


def copy_names(paths: Sequence[Path], out: Path) -> dict[str, Path]:
    """Return run files by the name that each gets in ``out``: its own, numbered if it is taken.

    Raises UnusableInputError if another measurement lies there under such a name: it may be the
    only copy.
    """
    names: dict[str, Path] = {}
    for path in paths:
        name, number = path.name, 1
        while name in names:
            number += 1
            name = f"{path.stem}-{number}{path.suffix}"
        if not _is_copy(out / name, path):
            raise UnusableInputError(
                f"{out / name} is another measurement than {path}: move it away, or name another"
                " folder with --out"
            )
        names[name] = path
    return names


def put_copies(copies: Mapping[str, Path], out: Path) -> None:
    """Copy run files into ``out`` under their names; one that lies there is left alone."""
    for name, path in copies.items():
        target = out / name
        if not (target.exists() and target.samefile(path)):
            copy_file(path, target)


def refuse_losses(names: Iterable[str], copies: Mapping[str, Path], out: Path) -> None:
    """Raise UnusableInputError if a file to write is one of the run files."""
    # Path.resolve raises RuntimeError for links in a loop; the writing says what is wrong there.
    sources = {os.path.realpath(path) for path in copies.values()}
    for name in names:
        if os.path.realpath(out / name) in sources:
            raise UnusableInputError(
                f"{out / name} is a run file, and a page of that name would replace it: rename it"
            )


def _is_copy(target: Path, path: Path) -> bool:
    """Tell whether ``target`` is absent, the file itself, or its beginning: cells are appended."""
    if not target.exists() or target.samefile(path):
        return True
    with target.open("rb") as there, path.open("rb") as here:
        while block := there.read(BLOCK):
            if here.read(len(block)) != block:
                return False
    return True
