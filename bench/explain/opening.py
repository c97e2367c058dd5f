"""Open the subject that fits a variant."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from ...toolkit.building.manifest import read_manifest
from ...toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from .subject import Subject


def open_subject(folder: Path, scratch: Path) -> Subject:
    """Return the subject of a variant's engine; raise UnusableInputError if there is none."""
    kind = read_manifest(folder).recipe.kind
    if not kind.subject:
        raise UnusableInputError(f"{folder}: 'explain' knows no engine {kind.name!r}")
    subject: Subject = resolve_name(kind.subject)(folder, scratch)
    return subject
