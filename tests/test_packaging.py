"""pyproject.toml against the folders, and what the command line may import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import files
from pathlib import Path
from typing import Any

import pytest

from tiankong.server.bundle.bundle import LIBRARIES

ROOT = Path(__file__).parents[1]
ROOMS = ("bench", "reports", "server", "toolkit", "variants")
HEAVY = (
    "torch", "transformers", "onnx", "onnxruntime", "locust", "matplotlib", "starlette", "flask",
    "scipy",
)  # fmt: skip
EVIDENCE = ("bench/proof", "bench/peers", "bench/micro")
# Made while running or by other tools; a package keeps its own pages of the latest run out of it.
NOT_PACKAGES = ("reports/pages", "__pycache__", *EVIDENCE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_packages_are_the_folders(project: dict[str, Any]) -> None:
    setuptools = project["tool"]["setuptools"]
    patterns = ["*.py", *setuptools["package-data"]["*"]]
    folders = {
        path.parent.relative_to(ROOT)
        for room in ROOMS
        for pattern in patterns
        for path in (ROOT / room).rglob(pattern)
    }
    kept = [f for f in folders if not any(part in f.as_posix() for part in NOT_PACKAGES)]
    expected = {"tiankong", *(".".join(("tiankong", *folder.parts)) for folder in kept)}
    assert set(setuptools["packages"]) == expected
    assert setuptools["packages"] == sorted(set(setuptools["packages"]))
    assert setuptools["package-dir"] == {"tiankong": "."}


def test_no_room_is_forgotten(project: dict[str, Any]) -> None:
    rooms = {p.parent.name for p in ROOT.glob("*/*.py")} - {"tests", "artifacts", "build", "dist"}
    assert {room for room in rooms if not room.startswith(".")} <= set(ROOMS)


@pytest.mark.parametrize(
    "module",
    [
        "tiankong",
        "tiankong.__main__",
        "tiankong.toolkit.gate.judging",
        "tiankong.bench.commands.sweep",
        "tiankong.toolkit.runs.run_file",
        "tiankong.toolkit.stats",
    ],
)
def test_importing_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    program = program.replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_the_help_needs_no_numpy() -> None:
    program = "import sys, tiankong.__main__; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_opening_an_onnx_variant_needs_no_torch() -> None:
    modules = "tiankong.toolkit.engines.onnx_engine, tiankong.toolkit.engines.predictor"
    program = f"import sys, {modules}; print(*({{'torch', 'transformers'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_pinned_where_it_decides_speed(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    pinned = {}
    for requirement in [*extras["serve"], *extras["build"]]:
        name, _, version = requirement.partition("==")
        assert version, f"{requirement} is not pinned"
        assert pinned.setdefault(name, version) == version
    assert {"torch", "transformers"} & {r.split("==")[0] for r in extras["serve"]} == set()


def test_where_the_page_is_made_its_commands_run(project: dict[str, Any]) -> None:
    """The answer's command is ``tiankong bundle``: what it needs comes with the extra ``bench``."""
    extras = project["project"]["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        own = {re.split(r"[=\[]", requirement)[0] for requirement in extras[extra]}
        others = [name for r in extras[extra] for name in _extras_of(r)]
        return own.union(*(brought(name) for name in others))

    assert {*LIBRARIES, "onnxruntime", "starlette"} <= brought("bench")


def _extras_of(requirement: str) -> list[str]:
    found = re.match(r"tiankong\[(.*)\]", requirement)
    return found[1].split(",") if found else []


def test_the_projects_own_tooling_is_not_in_the_package() -> None:
    names = [str(file) for file in files("tiankong") or []]
    if any(name.startswith("tiankong/") for name in names):  # a wheel, not an editable install
        assert "tiankong/toolkit/commands.py" in names
        assert not {"tiankong/noxfile.py", "tiankong/setup.py"} & set(names)
