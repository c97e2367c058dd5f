"""Revisions: another version of this project, taken from git, that builds and serves variants."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path

from packaging.requirements import Requirement

from ...server.settings import TABLE, known_stack
from ...toolkit.building.folders import source_folder
from ...toolkit.console import say
from ...toolkit.errors import UnusableInputError
from ...toolkit.files import ARTIFACTS, artifacts, folder_written_whole
from ...toolkit.processes import free_port
from ...toolkit.runs.load import REFERENCE_STACK
from ..load.target import Target
from ..serving.served import READY_PATHS, Served, started

BUILD_LIMIT_SECONDS = 1800


@dataclass(frozen=True)
class Revision:
    """The code of one commit in its own folder, and a Python with the libraries that it needs.

    It is used only through its command line (``build``, ``serve``), which the project promises to
    keep.  Its variants are stored in its folder, since their recipes may be different too.
    """

    commit: str
    folder: Path
    python: Path
    model: str

    @property
    def _environment(self) -> dict[str, str]:
        here = self.folder.absolute()
        place = {"PYTHONPATH": str(here), ARTIFACTS: str(here / "artifacts")}
        # An older revision inherits the variables that switch telemetry off, but does not know that
        # OpenVINO's has none (toolkit/telemetry.py): it is off where CI is set.
        return place | {"CI": "true"}

    def _command(self, *words: str) -> list[str]:
        return [str(self.python), "-m", "tiankong", *words]

    def build(self, variant: str, *options: str) -> None:
        """Build a variant with the revision's own code; raise UnusableInputError if that fails.

        ``options`` are further options of its ``build``.
        """
        say(f"compare: building {variant} at {self.commit[:12]}")
        done = subprocess.run(
            self._command("build", "--model", self.model, "--variants", variant, *options),
            env=os.environ | self._environment, capture_output=True, text=True, check=False,
            timeout=BUILD_LIMIT_SECONDS, cwd=self.folder,
        )  # fmt: skip
        if done.returncode:
            last = " ".join(done.stderr.strip().splitlines()[-1:])
            raise UnusableInputError(f"revision {self.commit[:12]} cannot build {variant}: {last}")

    @contextmanager
    def serve(self, variant: str, stack: str, settings: Mapping[str, int]) -> Iterator[Served]:
        """Serve a built variant with the revision's own server until the block ends.

        Raises InvalidMeasurementError if the server does not become ready, or ends too early.
        """
        port = free_port()
        words = ["serve", "--model", self.model, "--variant", variant, "--port", str(port)]
        words += ["--stack", stack] if stack != REFERENCE_STACK else []
        # Only the settings that were given: an older revision may not know the others.
        words += [row.argument(settings[row.name]) for row in TABLE if row.name in settings]
        url = f"http://127.0.0.1:{port}"
        name = f"the server of revision {self.commit[:12]}"
        cores = settings.get("cores")
        with started(name, self._command(*words), self._environment, cores) as process:
            process.await_ready(url + READY_PATHS[known_stack(stack)])
            yield Served(Target(url), process.pid, 0.0, None)
            process.require_alive()


def take_revision(name: str, model: str) -> Revision:
    """Return a revision of this project, by any name that git knows in the current folder.

    Its code is unpacked under ``artifacts/revisions/<commit>/``.  If it pins other versions of
    libraries than those installed, it gets its own virtual environment.  Raises UnusableInputError
    if the current folder is not in this project's repository, or if there is no such revision.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", name=name).decode()
    commit = commit.strip()
    folder = artifacts() / "revisions" / commit
    if not folder.exists():
        top = _git("rev-parse", "--show-toplevel", name=name).decode().strip()
        packed = _git("-C", top, "archive", "--format=tar", commit, name=name)
        with folder_written_whole(folder) as scratch:
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                archive.extractall(scratch / "tiankong", filter="data")
            if not (scratch / "tiankong" / "toolkit").is_dir():
                raise UnusableInputError(f"revision {name} is not a version of this project")
    place = source_folder(model)  # the revision runs in a folder of its own
    model = model if place is None else str(place.absolute())
    return Revision(commit, folder, _python(folder), model)


def _git(*words: str, name: str) -> bytes:
    if shutil.which("git") is None:
        raise UnusableInputError("revisions need git, which is not installed")
    done = subprocess.run(["git", *words], capture_output=True, check=False)
    if done.returncode:
        last = " ".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])
        raise UnusableInputError(
            f"there is no revision {name!r} here: {last or 'git does not know it'};"
            " run this in a clone of the project, with its history"
        )
    return done.stdout


def _python(folder: Path) -> Path:
    """Return this Python if it has all that the revision needs, else one in a new environment."""
    requirements = _requirements(folder / "tiankong" / "pyproject.toml")
    if all(_is_installed(requirement) for requirement in requirements):
        return Path(sys.executable)
    python = folder / "venv" / "bin" / "python"
    if not (folder / "venv" / "complete").exists():
        say(f"compare: {folder.name[:12]} pins other libraries: installing them beside it")
        shutil.rmtree(folder / "venv", ignore_errors=True)
        _pip(folder, [sys.executable, "-m", "venv", str(folder / "venv")])
        _pip(folder, [str(python), "-m", "pip", "install", "--quiet", *sorted(requirements)])
        (folder / "venv" / "complete").touch()
    return python


def _pip(folder: Path, command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        raise UnusableInputError(f"revision {folder.name[:12]} cannot be installed: {last}")


def _requirements(pyproject: Path) -> set[str]:
    """Return the requirements, with their versions, that a revision needs to build and serve."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    names = ("serve", "build", "bench")
    wanted = [*project["dependencies"], *(need for name in names for need in extras.get(name, ()))]
    return {need for need in wanted if not need.startswith("tiankong")}


def _is_installed(line: str) -> bool:
    """Tell whether a requirement is installed here, in an allowed version.

    One that is not for this platform counts as installed.
    """
    requirement = Requirement(line)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False
