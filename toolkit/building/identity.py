"""Which model a name means now, and whether a variant was made of it: digests decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ..models.layout import combined_digest
from ..models.source import is_builtin, source_digests
from .folders import source_folder
from .manifest import Manifest

NANOSECONDS = 1_000_000_000
WEIGHTS = (".safetensors", ".bin")


@dataclass(frozen=True)
class Identity:
    """What a model is now.

    Args:
        name: the model's name, as it was given.
        builtin: the description of a built-in model.
        folder: a model's folder; ``files`` has the digests of the files that are there.
        commit: a hub model's commit, None if any will do.

    """

    name: str
    builtin: Mapping[str, Any] | None = None
    folder: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None

    @classmethod
    def of(cls, name: str, commit: str | None = None) -> Identity:
        """Return what a name means now; a hub model's ``commit`` is not looked up."""
        if is_builtin(name):
            from ..models.loading import builtin_info  # here: others are told apart without it

            info = builtin_info(name)
            return cls(name, None if info is None else info.as_json())
        folder = source_folder(name)
        if folder is None:
            return cls(name, commit=commit)
        return cls(name, folder=folder, files=source_digests(folder))

    @property
    def is_gone(self) -> bool:
        """Whether the folder has no weights any more, so that nothing can be made of it."""
        return self.folder is not None and not self._weights

    @property
    def _weights(self) -> dict[str, str]:
        return {n: digest for n, digest in self.files.items() if n.endswith(WEIGHTS)}

    def difference(self, manifest: Manifest) -> str:
        """Return in a few words how a variant's model differs from this one; empty: it does not.

        Of a folder without weights only the files that are left are compared.
        """
        model = manifest.model
        if self.builtin is not None:
            return "" if dict(model) == dict(self.builtin) else "another version of it"
        if self.folder is not None:
            return self._difference_of_files(manifest)
        if model.get("source") != "hub" or model.get("name") != self.name:
            return f"another model, {model.get('name')}"
        if self.commit not in (None, model.get("revision")):
            return f"revision {str(model.get('revision'))[:12]}"
        return ""

    def _difference_of_files(self, manifest: Manifest) -> str:
        recorded = manifest.sources
        if not recorded:
            return "" if self.is_gone or self._is_older_than(manifest) else "other files"
        names = set(self.files) if self.is_gone else self.files.keys() | recorded.keys()
        changed = sorted(n for n in names if self.files.get(n) != recorded.get(n))
        return f"another {', '.join(changed)}" if changed else ""

    def _is_older_than(self, manifest: Manifest) -> bool:
        """Tell whether a variant without ``sources`` was made of these files.

        Its manifest has the weights' digest.  No other file may have changed since it was built:
        a file's ``ctime`` says so.
        """
        assert self.folder is not None
        built = datetime.fromisoformat(manifest.built).timestamp() * NANOSECONDS
        return combined_digest(self._weights) == manifest.model.get("revision") and all(
            (self.folder / name).stat().st_ctime_ns < built
            for name in self.files.keys() - self._weights.keys()
        )
