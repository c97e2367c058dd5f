"""The wheel holds what pyproject.toml names, and what pip recorded."""

from __future__ import annotations

import shutil
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tiankong.server.bundle import distribution
from tiankong.toolkit.errors import UnusableInputError

wheelfile = pytest.importorskip("wheel.wheelfile")
ROOT = Path(__file__).parents[3]
EXTRA = "tiankong/pyproject.toml"  # setuptools' data pattern includes it in the root package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return distribution.write_wheel(tmp_path_factory.mktemp("wheels"))


def named() -> set[str]:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    files = {"tiankong/__init__.py", "tiankong/__main__.py", "tiankong/py.typed"}
    for package in setuptools["packages"][1:]:
        data = setuptools["package-data"]
        folder = Path(*package.split(".")[1:])
        for pattern in ["*.py", *data["*"], *data.get(package, [])]:
            files |= {f"tiankong/{p.relative_to(ROOT)}" for p in (ROOT / folder).glob(pattern)}
    return files


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"tiankong-{metadata.version('tiankong')}-py3-none-any.whl"
    with wheelfile.WheelFile(str(wheel)) as archive:
        names = set(archive.namelist())
        for name in names:
            archive.read(name)  # checks the digest in RECORD
    package = {name for name in names if ".dist-info/" not in name}
    assert package - {EXTRA} == named()
    described = {name.partition(".dist-info/")[2] for name in names - package}
    assert described >= {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_its_metadata_are_the_installed_ones(wheel: Path, tmp_path: Path) -> None:
    shutil.unpack_archive(wheel, tmp_path, "zip")
    (folder,) = tmp_path.glob("*.dist-info")
    mine, installed = metadata.PathDistribution(folder), distribution.distribution()
    assert (mine.version, mine.requires) == (installed.version, installed.requires)
    assert [entry.value for entry in mine.entry_points] == ["tiankong.__main__:main"]
    assert (mine.read_text("licenses/LICENSE") or "").lstrip().startswith("Apache License")


def test_of_a_checkout_the_metadata_must_be_todays(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    (tmp_path / "server").mkdir()
    for name in ("__init__.py", "noxfile.py", "setup.py", "server/app.py"):
        (tmp_path / name).touch()
    files = distribution.package_files(tmp_path)
    assert sorted(files) == ["tiankong/__init__.py", "tiankong/server/app.py"]
    newer = text.replace('"psutil==', '"psutil==9')
    (tmp_path / "pyproject.toml").write_text(newer, encoding="utf-8")
    with pytest.raises(UnusableInputError, match=r"pip install -e \. again"):
        distribution.package_files(tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(UnusableInputError, match="neither an installed package nor a checkout"):
        distribution.package_files(tmp_path)
