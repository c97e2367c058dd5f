"""Where the folders of variants are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..files import artifacts
from .manifest import Manifest


@dataclass(frozen=True)
class Built:
    """One variant: its folder, its manifest, and whether it was not built because it existed."""

    folder: Path
    manifest: Manifest
    skipped: bool


def model_folder(model: str) -> Path:
    """Return the folder of a model's variants: ``artifacts/variants/<model>``."""
    if Path(model).is_dir():
        model = Path(model).resolve().name
    return artifacts() / "variants" / re.sub(r"[^A-Za-z0-9._-]+", "--", model).strip("-.")


def variant_folder(model: str, variant: str) -> Path:
    """Return the folder of one variant."""
    return model_folder(model) / variant
