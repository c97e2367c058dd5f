"""The package itself as a wheel: from the files that pip installed, or from a checkout.

Nothing is built and nothing fetched: the files are packed with the metadata they were installed
with.  (``pip wheel`` would need the sources and setuptools, which an installed package has not.)
The metadata of a checkout are those of its last ``pip install -e``; older ones are refused.
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
DESCRIPTIONS = ("METADATA", "PKG-INFO")  # the latter is setuptools' name beside sources
CARRIED = ("entry_points.txt", "top_level.txt")


def distribution() -> metadata.Distribution:
    """Return what is installed of this package; raise UnusableInputError if nothing is."""
    if found := _beside():
        return found
    try:
        return metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        raise UnusableInputError(
            f"{NAME} is not installed here, so what it needs is not known: pip install it first"
        ) from None


def _beside() -> metadata.Distribution | None:
    """Return what pip recorded beside the package in use; None for a checkout.

    (The current folder, if it is a checkout, may have records of another build.)
    """
    return next(iter(metadata.distributions(name=NAME, path=[str(PACKAGE.parent)])), None)


def package_files(root: Path = PACKAGE) -> dict[str, Path]:
    """Return the package's files by their names in a wheel (``tiankong/server/routes/app.py``).

    Of an installed package they are what pip recorded; of a checkout (an editable install) what
    its pyproject.toml names.  ``root`` is the package's folder.
    """
    found = _beside()
    if found is None or root != PACKAGE:
        return dict(_checkout(root))
    recorded = {str(file): Path(str(file.locate())) for file in found.files or ()}
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
        # The project's own tooling lies beside the root package's modules.
        patterns = [*data["*"], *data.get(package, ()), "*.py"]
        patterns = patterns if below else ["__init__.py", "__main__.py", "py.typed"]
        for path in sorted({p for pattern in patterns for p in folder.glob(pattern)}):
            yield f"{package.replace('.', '/')}/{path.name}", path


def _require_current(project: Mapping[str, Any]) -> None:
    """Raise UnusableInputError if pyproject.toml has changed since the checkout was installed."""
    from packaging.requirements import Requirement

    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = sorted(_key(Requirement(text)) for group in groups for text in group)
    found = distribution()
    known = sorted(_key(Requirement(text)) for text in found.requires or ())
    if (found.version, known) != (project["version"], wanted):
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

    found = distribution()
    path = folder / f"{NAME}-{found.version}-{TAG}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with WheelFile(str(path), "w") as wheel:
        for name, source in package_files().items():
            wheel.writestr(name, source.read_bytes())
        for name, text in _described(found):
            wheel.writestr(f"{wheel.dist_info_path}/{name}", text)
    return path


def _described(found: metadata.Distribution) -> Iterator[tuple[str, str]]:
    """Yield the files of the ``.dist-info`` folder but RECORD, which the writer makes."""
    yield "METADATA", next(text for name in DESCRIPTIONS if (text := found.read_text(name)))
    for name in CARRIED:
        if text := found.read_text(name):
            yield name, text
    for name in found.metadata.get_all("License-File") or ():
        text = found.read_text(f"licenses/{name}")
        if text is None and (PACKAGE / name).is_file():  # a checkout
            text = (PACKAGE / name).read_text(encoding="utf-8")
        if text:
            yield f"licenses/{name}", text
    lines = ("Wheel-Version: 1.0", f"Generator: {NAME} {found.version}",
             "Root-Is-Purelib: true", f"Tag: {TAG}")  # fmt: skip
    yield "WHEEL", "\n".join(lines) + "\n"
