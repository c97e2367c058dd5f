"""Where the folders of variants are: ``artifacts/variants/<model>/<variant>``.

A built-in or hub model has its name there (``google-bert--bert-base-chinese``).  A folder has its
own name and eight digits that its path determines (``my-model@5f3c09a1``): no two models meet,
whatever their folders are called.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnusableInputError
from ..files import artifacts, read_json
from ..models.source import file_name, folder_of
from .manifest import NAME, Manifest, read_manifest
from .offer import Offer
from .recipes import OWN

DIGITS = 8  # hexadecimal, of the digest of a path
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


@dataclass(frozen=True)
class Built:
    """One variant: its folder, its manifest, and whether it was not built because it existed."""

    folder: Path
    manifest: Manifest
    skipped: bool

    def again(self) -> Built:
        """Return the same variant with its manifest read again."""
        return Built(self.folder, read_manifest(self.folder), skipped=True)

    def require_same(self) -> None:
        """Raise UnusableInputError if the variant was built anew, of other files, meanwhile."""
        if self.again().manifest.digest != self.manifest.digest:
            raise UnusableInputError(
                f"{self.folder} was built anew meanwhile: run the command again"
            )


def source_folder(model: str) -> Path | None:
    """Return the folder that a model's name means (see :func:`.source.folder_of`).

    What no hub model can be called is a folder.  A relative path without a dot looks like a hub
    model's name once the folder is gone: then it means the folder if variants of it, and none of a
    hub model of this name, are there.
    """
    folder = folder_of(model)
    if folder is not None:
        return folder
    is_gone = not _of_name(model).is_dir() and _of_path(Path(model)).is_dir()
    return Path(model) if is_gone or not HUB_NAME.fullmatch(model) else None


def model_folder(model: str) -> Path:
    """Return the folder of a model's variants; no two models have the same."""
    place = source_folder(model)
    if place is None:
        return _of_name(model)
    folder, before = _of_path(place), _of_name(place.resolve().name)
    return before if not folder.exists() and _is_all_of(before, place) else folder


def variant_folder(model: str, variant: str) -> Path:
    """Return the folder of one variant."""
    return model_folder(model) / variant


def brought_folder(offer: Offer, model: str, variant: str) -> Path:
    """Return the folder of a variant that is a user's file; without a model, by its tokenizer's."""
    parent = model_folder(model) if model else _of_path(offer.tokenizer)
    return parent / f"{variant}@{_digits(offer.onnx, offer.output)}"


def brought_folder_before(offer: Offer, model: str, variant: str) -> Path:
    """Return the folder that such a variant had before folders bore digits of paths."""
    return (model_folder(model) if model else _of_name(offer.tokenizer.resolve().name)) / variant


def _of_name(name: str) -> Path:
    return artifacts() / "variants" / re.sub(r"[^A-Za-z0-9._-]+", "--", name).strip("-.")


def _of_path(folder: Path) -> Path:
    """Return the folder by a path: its last part for people, and digits that tell paths apart."""
    return artifacts() / "variants" / f"{file_name(folder.resolve().name)}@{_digits(folder)}"


def _digits(path: Path, part: str = "") -> str:
    """Return the digits of a path and of the name of a part of it."""
    named = os.fsencode(path.resolve()) + (b"\0" + os.fsencode(part) if part else b"")
    return hashlib.sha256(named).hexdigest()[:DIGITS]


def _is_all_of(variants: Path, place: Path) -> bool:
    """Tell whether there are variants in a folder, all of the model in the folder ``place``."""
    if variants == artifacts() / "variants":  # a name without an ASCII letter
        return False
    paths = [p for p in variants.glob(f"*/{NAME}") if not p.parent.name.startswith(OWN)]
    return bool(paths) and all(_is_of(path, place) for path in paths)


def _is_of(manifest: Path, place: Path) -> bool:
    try:
        model = read_json(manifest)["model"]
        named = Path(os.path.expanduser(model["name"]))
    except (UnusableInputError, KeyError, TypeError):
        return False
    return model.get("source") == "folder" and named.resolve() == place.resolve()
