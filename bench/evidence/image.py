"""The image: what a bundle takes on the disk once it is installed as its README says."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...server.bundle.bundle import require_possible, write_requirements
from ...toolkit.building.folders import Built
from ...toolkit.building.recipes import SHIPPED
from ...toolkit.errors import TiankongError, UnusableInputError

INSTALLERS = ("setuptools", "pip")  # what venv installs; setuptools only up to Python 3.11
BLOCK = 512
INSTALL_SECONDS = 900.0
OUR_PYTHON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")  # of another environment than the new one
WHAT = "virtual environment without pip, and the variant; no base image"


def measure_image(variants: Sequence[Built]) -> dict[str, Any]:
    """Return the bytes on the disk of an installed bundle: environment and variant.

    The variant is the one that is served by default, or else the first that can be bundled.  Raises
    UnusableInputError if none can, or if pip cannot resolve or install the requirements.
    """
    ordered = sorted(variants, key=lambda built: built.manifest.variant != SHIPPED)
    with tempfile.TemporaryDirectory(prefix="tiankong-image-") as scratch:
        place = Path(scratch) / "bundle"
        built = _first_possible(ordered, place)
        place.mkdir()
        pins = write_requirements(place, built.manifest.recipe.engine)
        environment = _installed(place, Path(scratch) / "venv")
    variant = on_disk(built.folder)
    return {
        "variant": built.manifest.variant,
        "digest": built.manifest.digest,
        "environment_bytes": environment,
        "variant_bytes": variant,
        "bytes": environment + variant,
        "distributions": len(pins),
        "what": WHAT,
    }


def on_disk(path: Path) -> int:
    """Return the bytes that a file, or a folder with its contents, takes on the disk."""
    within = path.rglob("*") if path.is_dir() else ()
    return sum(each.lstat().st_blocks * BLOCK for each in (path, *within))


def _first_possible(variants: Sequence[Built], place: Path) -> Built:
    reasons = []
    for built in variants:
        try:
            require_possible(place, built.manifest)
        except TiankongError as error:
            reasons.append(str(error))
        else:
            return built
    raise UnusableInputError(reasons[0] if reasons else "there is no variant to bundle")


def _installed(bundle: Path, venv: Path) -> int:
    """Install a bundle's requirements in a new environment; return its size without pip."""
    python = venv / "bin" / "python"
    _run(bundle, sys.executable, "-m", "venv", venv)
    _run(bundle, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         "--require-hashes", "-r", "requirements.txt")  # fmt: skip
    _run(bundle, python, "-m", "pip", "uninstall", "--quiet", "--yes", *INSTALLERS)
    return on_disk(venv)


def _run(folder: Path, *words: str | Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name not in OUR_PYTHON}
    try:
        done = subprocess.run(
            [str(word) for word in words], cwd=folder, env=environ, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UnusableInputError("installing the bundle took too long") from None
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UnusableInputError(f"the bundle cannot be installed: {lines[-1] if lines else '?'}")
