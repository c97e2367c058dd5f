"""Packs this package as a wheel: from the files that pip installed, or from a checkout.

Nothing is built or downloaded: the wheel has the installed files and their metadata.  (``pip
wheel`` would need the sources and setuptools, which an installed package does not have.)  The
metadata of a checkout come from its last ``pip install -e``; outdated ones are refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...toolkit.errors import UnusableInputError
from ...toolkit.files import PACKAGE

if TYPE_CHECKING:
    from packaging.requirements import Requirement

NAME = "tiankong"
TAG = "py3-none-any"
DESCRIPTIONS = ("METADATA", "PKG-INFO")  # setuptools writes the latter in a checkout
CARRIED = ("entry_points.txt", "top_level.txt")


def distribution() -> metadata.Distribution:
    """Return this package's installed distribution; raise UnusableInputError if there is none."""
    if installed := _beside():
        return installed
    try:
        return metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise UnusableInputError(
            f"{NAME} is not installed here, so what it needs is not known: pip install it first"
        ) from None


def _beside() -> metadata.Distribution | None:
    """Return the distribution that pip recorded beside the package in use; None for a checkout.

    The current folder is not searched: if it is a checkout, it may have records of another build.
    """
    return next(iter(metadata.distributions(name=NAME, path=[str(PACKAGE.parent)])), None)


def package_files(root: Path = PACKAGE) -> dict[str, Path]:
    """Return the package's files by their names in a wheel (``tiankong/server/routes/app.py``).

    For an installed package they are the files that pip recorded; for a checkout (an editable
    install) those that its pyproject.toml names.  ``root`` is the package's folder.
    """
    installed = _beside()
    if installed is None or root != PACKAGE:
        return dict(_checkout(root))
    recorded = {str(file): Path(str(file.locate())) for file in installed.files or ()}
    return {
        name: path
        for name, path in sorted(recorded.items())
        if name.startswith(f"{NAME}/") and path.suffix != ".pyc"
    }


def _checkout(root: Path) -> Iterator[tuple[str, Path]]:
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        setuptools = document["tool"]["setuptools"]
        _require_current(document["project"])
    except (OSError, KeyError, ValueError):
        raise UnusableInputError(
            f"{root} is neither an installed package nor a checkout: pip install {NAME} again"
        ) from None
    data = setuptools["package-data"]
    for package in setuptools["packages"]:
        below = package.removeprefix(NAME).strip(".")
        folder = root / below.replace(".", "/") if below else root
        # In the root folder other modules are the project's tooling (noxfile.py).
        patterns = [*data["*"], *data.get(package, ()), "*.py"]
        patterns = patterns if below else ["__init__.py", "__main__.py", "py.typed"]
        for path in sorted({p for pattern in patterns for p in folder.glob(pattern)}):
            yield f"{package.replace('.', '/')}/{path.name}", path


def _require_current(project: Mapping[str, Any]) -> None:
    """Raise UnusableInputError if pyproject.toml has changed since the checkout was installed."""
    from packaging.requirements import Requirement

    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = sorted(_key(Requirement(text)) for group in groups for text in group)
    installed = distribution()
    recorded = sorted(_key(Requirement(text)) for text in installed.requires or ())
    if (installed.version, recorded) != (project["version"], declared):
        raise UnusableInputError(
            "what this checkout needs has changed since it was installed: pip install -e . again"
        )


def _key(requirement: Requirement) -> str:
    return f"{requirement.name}{sorted(requirement.extras)}{requirement.specifier}"


def write_wheel(folder: Path) -> Path:
    """Write ``tiankong-<version>-py3-none-any.whl`` into a folder and return its path.

    Raises UnusableInputError if the package is not installed.
    """
    from wheel.wheelfile import WheelFile

    installed = distribution()
    path = folder / f"{NAME}-{installed.version}-{TAG}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with WheelFile(str(path), "w") as wheel:
        for name, source in package_files().items():
            wheel.writestr(name, source.read_bytes())
        for name, text in _dist_info(installed):
            wheel.writestr(f"{wheel.dist_info_path}/{name}", text)
    return path


def _dist_info(installed: metadata.Distribution) -> Iterator[tuple[str, str]]:
    """Yield the files of the ``.dist-info`` folder except RECORD, which WheelFile writes."""
    yield "METADATA", next(text for name in DESCRIPTIONS if (text := installed.read_text(name)))
    for name in CARRIED:
        if text := installed.read_text(name):
            yield name, text
    for name in installed.metadata.get_all("License-File") or ():
        text = installed.read_text(f"licenses/{name}")
        if text is None and (PACKAGE / name).is_file():  # a checkout
            text = (PACKAGE / name).read_text(encoding="utf-8")
        if text:
            yield f"licenses/{name}", text
    lines = ("Wheel-Version: 1.0", f"Generator: {NAME} {installed.version}",
             "Root-Is-Purelib: true", f"Tag: {TAG}")  # fmt: skip
    yield "WHEEL", "\n".join(lines) + "\n"
