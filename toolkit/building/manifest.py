"""``variant.json``: what a variant folder holds, how it was made, and whether it is undamaged.

Format history: 1 (first): recipe, model, files with sizes and SHA-256, versions, machine, gate.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engines.kinds import Expected
from ..engines.outputs import ROUNDING
from ..errors import UnusableInputError
from ..files import read_json, sha256, write_json
from .integrity import require_listed, require_sound_all
from .recipes import DEPENDENT, OWN, Recipe

if TYPE_CHECKING:
    from ..engines.kinds import Mates

NAME = "variant.json"
FORMAT = 1
EIGHT_BITS = "eight_bits"  # the note on what 8 bits cost (see graphs/budget.py)
ALONE = "file"  # the source of a model known only as one ONNX file: it has no reference


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of one file."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The record of one variant.

    ``sources`` are the SHA-256 digests of the files of the model's folder that it was made of; none
    for a built-in or hub model, which its revision identifies, and in manifests of before.
    """

    variant: str
    model: Mapping[str, Any]
    recipe: Recipe
    files: Mapping[str, FileRecord]
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    built: str
    notes: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] | None = None
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(record.size for record in self.files.values())

    @property
    def model_file_size(self) -> int:
        """Bytes of the file the engine loads, and of the other files in that file's subfolder."""
        folder, _, file = self.recipe.file.rpartition("/")
        begin = f"{folder}/" if folder else file
        return sum(r.size for name, r in self.files.items() if name.startswith(begin))

    @property
    def digest(self) -> str:
        """One SHA-256 over the names and digests of all files."""
        lines = [f"{name} {record.sha256}" for name, record in sorted(self.files.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def mates(self) -> Mates:
        """Which sentences may share a batch: by the gate's result; before it, by the recipe.

        Padding can change the last bits of an answer, because other kernels or another order of
        sums are used.  Such an answer still stays the same among sentences of its own length.  A
        file made elsewhere answers one sentence at a time until the gate has checked it.
        """
        result = (self.gate or {}).get("batch")
        if self.recipe.batch == DEPENDENT or (result and not result["independent"]):
            return "none"
        if result and result["max_delta"] <= ROUNDING:
            return "any"
        if result:
            delta = result.get("same_length_delta")
            return "none" if delta is None or delta > ROUNDING else "same length"
        if self.recipe.brought:
            return "none"
        exact = self.recipe.kind.pads_exactly and self.recipe.precision == "fp32"
        return "any" if exact else "same length"

    @property
    def expected(self) -> Expected | None:
        """What the variant answered when the gate asked it; None before that."""
        answer = (self.gate or {}).get("expected")
        if not answer:
            return None
        return Expected(answer["text"], {r["token"]: r["score"] for r in answer["results"]})

    def is_of_model(self, other: Manifest) -> bool:
        """Tell whether both are made of the same model, as far as the manifests say."""
        if self.model.get("revision") != other.model.get("revision"):
            return False
        return not (self.sources and other.sources) or dict(self.sources) == dict(other.sources)

    def verify(self, folder: Path) -> None:
        """Raise UnusableInputError unless the folder is what the manifest says, and safe to load.

        Every listed file exists with its size and digest, and there is no other file.  No file is a
        link or a pickle, and no model takes weights from outside (see :mod:`.integrity`).
        """
        require_listed(folder, self.files)
        for name, record in self.files.items():
            path = folder / name
            if not path.is_file():
                raise UnusableInputError(f"{path} is missing: {self._rebuild()}")
            if path.stat().st_size != record.size or sha256(path) != record.sha256:
                raise UnusableInputError(
                    f"{path} is damaged (its SHA-256 is not the manifest's): {self._rebuild()}"
                )
        require_sound_all(folder, self.files, self.recipe.file)

    def _rebuild(self) -> str:
        if self.variant.startswith(OWN):
            return "bring it again with --onnx and --tokenizer"
        model = self.model.get("name", "builtin")
        where = "" if model == "builtin" else f"--model {shlex.quote(str(model))} "
        return f"build it again with 'tiankong build {where}--variants {self.variant}'"

    def with_gate(self, gate: Mapping[str, Any]) -> Manifest:
        """Return the same record with a gate result."""
        return replace(self, gate=gate)

    def as_json(self) -> dict[str, Any]:
        """Return the record as the JSON object of the file."""
        return {
            "format": FORMAT,
            "variant": self.variant,
            "model": dict(self.model),
            "recipe": self.recipe.as_json(),
            "files": {n: {"size": r.size, "sha256": r.sha256} for n, r in self.files.items()},
            "versions": dict(self.versions),
            "machine": dict(self.machine),
            "built": self.built,
            "notes": dict(self.notes),
            **({"sources": dict(self.sources)} if self.sources else {}),
            "gate": None if self.gate is None else dict(self.gate),
        }


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Return the records of a folder's files by relative POSIX name, without the manifest."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    return {
        path.relative_to(folder).as_posix(): FileRecord(path.stat().st_size, sha256(path))
        for path in paths
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``variant.json``, whole or not at all."""
    write_json(folder / NAME, manifest.as_json())


def read_manifest(folder: Path) -> Manifest:
    """Read ``variant.json``; raise UnusableInputError if the folder is no variant."""
    path = folder / NAME
    if not path.is_file():
        raise UnusableInputError(f"{folder} is no variant ({NAME} is missing): build it first")
    data = read_json(path)
    try:
        if data["format"] != FORMAT:
            raise UnusableInputError(
                f"{path} has format {data['format']}, this version reads {FORMAT}: build it again"
            )
        for name in data["files"]:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise UnusableInputError(f"{path} names a file outside its folder: {name}")
        return Manifest(
            variant=str(data["variant"]),
            model=data["model"],
            recipe=Recipe.from_json(data["recipe"], str(path)),
            files={n: FileRecord(int(f["size"]), f["sha256"]) for n, f in data["files"].items()},
            versions=data["versions"],
            machine=data["machine"],
            built=data["built"],
            notes=data.get("notes", {}),
            gate=data.get("gate"),
            sources=data.get("sources", {}),
        )
    except (KeyError, TypeError, AttributeError, ValueError, json.JSONDecodeError) as error:
        raise UnusableInputError(f"{path} is not a manifest ({error!r}): build it again") from None
