"""The files of a model's folder, and which of them are missing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UnusableInputError
from ..files import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
TOKENIZERS = ("tokenizer.json", "vocab.txt")
ADDED, SETTINGS, SPECIAL = "added_tokens.json", "tokenizer_config.json", "special_tokens_map.json"
FILES = ("config.json", *TOKENIZERS, ADDED, SETTINGS, SPECIAL)
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
OTHERS = (*PICKLED, ".h5", ".msgpack")  # endings of weights in other formats


def missing_files(folder: Path, convert_pickle: bool = False) -> list[str]:
    """Return which necessary files a folder lacks: configuration, tokenizer, weights.

    With ``convert_pickle`` the weights may be pickled.
    """
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in TOKENIZERS):
        missing.append(" or ".join(TOKENIZERS))
    pickled = convert_pickle and is_pickled(folder)
    try:
        paths = pickle_files(folder) if pickled else weight_files(folder)
        missing += [path.name for path in paths if not path.is_file()]
    except UnusableInputError:
        missing.append(PICKLE_INDEX if pickled else INDEX)
    return missing


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files a folder should have: the single file, or the index's shards.

    They may be missing.  Raises UnusableInputError if the index cannot be read, or names something
    other than a safetensors file in this folder.
    """
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [folder / WEIGHTS]
    return _shards(folder / INDEX, ".safetensors")


def pickle_files(folder: Path) -> list[Path]:
    """Return the pickled files a folder should have, as :func:`weight_files` does."""
    if (folder / PICKLE).exists() or not (folder / PICKLE_INDEX).is_file():
        return [folder / PICKLE]
    return _shards(folder / PICKLE_INDEX, ".bin")


def is_pickled(folder: Path) -> bool:
    """Tell whether a folder has pickled weights only; beside safetensors they are never read."""
    if (folder / WEIGHTS).exists() or (folder / INDEX).exists():
        return False
    return (folder / PICKLE).exists() or (folder / PICKLE_INDEX).exists()


def pickle_names(folder: Path) -> set[str]:
    """Return the names of the tensors that the index of pickled shards lists."""
    return set(_weight_map(folder / PICKLE_INDEX))


def combined_digest(digests: Mapping[str, str]) -> str:
    """Return one file's SHA-256; for several, that of the list of names and digests."""
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "\n".join(f"{name} {digest}" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _shards(index: Path, suffix: str) -> list[Path]:
    names = sorted(set(_weight_map(index).values()))
    for name in names:
        if not re.fullmatch(rf"[\w.-]+{re.escape(suffix)}", name):
            raise UnusableInputError(f"{index} names no {suffix.lstrip('.')} file: {name!r}")
    return [index.parent / name for name in names]


def _weight_map(index: Path) -> dict[str, str]:
    """Return which file has which tensor; raise UnusableInputError if the index does not say."""
    data = read_json(index)
    shards = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise UnusableInputError(f"{index} has no weight_map: save the model again")
    return {str(name): str(shard) for name, shard in shards.items()}


def source_files(folder: Path) -> list[Path]:
    """Return the files of a folder that a model is read from, those that are there."""
    pickled = is_pickled(folder)
    names = {*FILES, PICKLE_INDEX if pickled else INDEX}
    try:
        paths = pickle_files(folder) if pickled else weight_files(folder)
        names.update(path.name for path in paths)
    except UnusableInputError:  # an unreadable index is reported when the model is loaded
        names.add(WEIGHTS)
    return [folder / name for name in sorted(names) if (folder / name).is_file()]


def safetensors_only(what: str, names: Iterable[str]) -> UnusableInputError:
    """Return the error for a model without safetensors, by the weights that it has instead."""
    there = set(names)
    others = [name for name in sorted(there) if name.endswith(OTHERS)]
    lacks = f"{what} has no {WEIGHTS}" + (f", only {', '.join(others[:3])}" if others else "")
    if {PICKLE, PICKLE_INDEX} & there:
        return UnusableInputError(
            f"{lacks}: a pickle can run code when it is loaded; --convert-pickle converts it to"
            " safetensors once, in a process of its own that runs nothing of it"
        )
    if any(name.endswith(PICKLED) for name in others):
        return UnusableInputError(
            f"{lacks}: of pickled weights only {PICKLE} can be converted (--convert-pickle);"
            " save the model with save_pretrained and name its folder"
        )
    if others:
        return UnusableInputError(
            f"{lacks}: weights of TensorFlow and Flax are not read; convert them with"
            " transformers 4 (from_tf=True or from_flax=True, then save_pretrained) and name that"
            " folder"
        )
    return UnusableInputError(
        f"{lacks}: name a model or a revision that has it, or save the model with save_pretrained"
    )
