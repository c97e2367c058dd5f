"""The files of a model's folder, and which of them are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import UnusableInputError
from ..files import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt")
FILES = ("config.json", *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json")
PICKLED = (".bin", ".h5", ".msgpack", ".ckpt", ".pt", ".pth")


def missing_files(folder: Path) -> list[str]:
    """Return which necessary files a folder lacks: configuration, tokenizer, safetensors."""
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append(" or ".join(TOKENIZERS))
    try:
        missing += [path.name for path in weight_files(folder) if not path.is_file()]
    except UnusableInputError:
        missing.append(INDEX)
    return missing


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files a folder should have: the single file, or the index's shards.

    They may be missing.  Raises UnusableInputError if the index cannot be read, or names something
    other than a safetensors file in this folder.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    data = read_json(folder / INDEX)
    shards = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise UnusableInputError(f"{folder / INDEX} has no weight_map: save the model again")
    names = sorted(set(map(str, shards.values())))
    for name in names:
        if not re.fullmatch(r"[\w.-]+\.safetensors", name):
            raise UnusableInputError(f"{folder / INDEX} names no safetensors file: {name!r}")
    return [folder / name for name in names]


def source_files(folder: Path) -> list[Path]:
    """Return the files of a folder that a model is read from, those that are there."""
    names = {*FILES, INDEX}
    try:
        names.update(path.name for path in weight_files(folder))
    except UnusableInputError:  # an unreadable index is reported when the model is loaded
        names.add(WEIGHTS)
    return [folder / name for name in sorted(names) if (folder / name).is_file()]


def safetensors_only(what: str, names: Iterable[str]) -> UnusableInputError:
    """Return the error for a model without safetensors, naming the pickled files it has."""
    pickled = [name for name in sorted(names) if name.endswith(PICKLED)]
    others = f", only {', '.join(pickled[:3])}" if pickled else ""
    return UnusableInputError(
        f"{what} has no {WEIGHTS}{others}: only safetensors are read (pickles can run code);"
        " name a revision that has them (the hub's converter leaves one at refs/pr/N),"
        " or convert the model and name its folder"
    )
