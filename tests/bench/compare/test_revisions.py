from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tiankong.bench.compare import revisions
from tiankong.bench.compare.revisions import take_revision
from tiankong.toolkit.errors import UnusableInputError

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

NUMPY = metadata.version("numpy")
PYPROJECT = """
[project]
name = "tiankong"
dependencies = ["numpy=={numpy}"]
[project.optional-dependencies]
serve = ["tokenizers"]
build = ["no-such-library==1; sys_platform == 'win32'"]
bench = ["tiankong[serve,build]"]
dev = ["surely-not-installed==1"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder outside any repository; artifacts are stored next to it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "none"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "none"))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return folder


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def committed(folder: Path, message: str = "one") -> str:
    """Commit everything and return the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(here: Path) -> Path:
    """A repository with the files by which this project is recognized."""
    git(here, "init", "--quiet")
    (here / "toolkit").mkdir()
    (here / "toolkit" / "cli.py").write_text("VERSION = 1\n")
    (here / "pyproject.toml").write_text(PYPROJECT.format(numpy=NUMPY))
    committed(here)
    return here


def refused(name: str) -> str:
    """Return the one-line error for a revision that cannot be taken."""
    with pytest.raises(UnusableInputError) as caught:
        take_revision(name, "builtin")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_that_is_no_repository(here: Path) -> None:
    said = refused("HEAD")
    assert "there is no revision 'HEAD' here" in said
    assert "not a git repository" in said
    assert "run this in a clone of the project" in said


@pytest.mark.parametrize("name", ["no-such-branch", "HEAD~99", "0" * 40, "--all", ""])
@pytest.mark.usefixtures("repository")
def test_a_revision_that_git_does_not_know(name: str) -> None:
    assert f"there is no revision {name!r} here" in refused(name)


def test_a_repository_of_something_else_leaves_nothing(here: Path, tmp_path: Path) -> None:
    git(here, "init", "--quiet")
    (here / "README").write_text("another project\n")
    committed(here)
    assert refused("HEAD") == "revision HEAD is not a version of this project"
    assert list((tmp_path / "artifacts" / "revisions").iterdir()) == []


def test_no_git_no_revision(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert refused("HEAD") == "revisions need git, which is not installed"


def test_a_revision_is_unpacked_as_it_was_committed(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    (repository / "toolkit" / "cli.py").write_text("VERSION = 2\n")
    second = committed(repository, "two")
    (repository / "toolkit" / "cli.py").write_text("VERSION = 3\n")  # not committed
    for name, commit, version in (("HEAD", second, 2), ("HEAD~1", first, 1)):
        revision = take_revision(name, "some-model")
        assert (revision.commit, revision.model) == (commit, "some-model")
        assert revision.folder == tmp_path / "artifacts" / "revisions" / commit
        code = (revision.folder / "tiankong" / "toolkit" / "cli.py").read_text()
        assert code == f"VERSION = {version}\n"


def test_a_tag_names_the_commit_it_stands_for(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    git(repository, "tag", "--annotate", "v1", "--message", "first")
    assert take_revision("v1", "builtin").commit == commit


def test_a_revision_already_unpacked_is_taken_as_it_stands(repository: Path) -> None:
    folder = take_revision("HEAD", "builtin").folder
    (folder / "marked").touch()
    assert (take_revision("HEAD", "builtin").folder / "marked").exists()


def test_our_python_will_do_where_we_have_what_a_revision_needs(repository: Path) -> None:
    assert take_revision("HEAD", "builtin").python == Path(sys.executable)


def test_other_pins_are_installed_beside_it_once(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "pyproject.toml").write_text(PYPROJECT.format(numpy="0.0.1"))
    commit = committed(repository, "two")
    asked: list[list[str]] = []

    def pip(folder: Path, command: list[str]) -> None:
        asked.append(command)
        (folder / "venv").mkdir(exist_ok=True)

    monkeypatch.setattr(revisions, "_pip", pip)
    python = take_revision(commit, "builtin").python
    assert python.parts[-4:] == (commit, "venv", "bin", "python")
    assert asked[0][1:3] == ["-m", "venv"]
    assert asked[1][1:5] == ["-m", "pip", "install", "--quiet"]
    assert asked[1][5:] == [
        "no-such-library==1; sys_platform == 'win32'",
        "numpy==0.0.1",
        "tokenizers",
    ]
    assert take_revision(commit, "builtin").python == python
    assert len(asked) == 2


def test_an_installation_that_failed_is_begun_again(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "pyproject.toml").write_text(PYPROJECT.format(numpy="0.0.1"))
    commit = committed(repository, "two")
    real = subprocess.run

    def run(command: list[str], **words: Any) -> subprocess.CompletedProcess[Any]:
        if command[0] == "git":
            return real(command, **words)
        return subprocess.CompletedProcess(command, 1, "", "a long story\nno wheel for it\n")

    monkeypatch.setattr(subprocess, "run", run)
    for _ in range(2):
        assert refused(commit) == f"revision {commit[:12]} cannot be installed: no wheel for it"


@pytest.mark.parametrize(
    ("need", "installed"),
    [
        (f"numpy=={NUMPY}", True),
        ("numpy", True),
        ("numpy>=1", True),
        ("numpy==0.0.1", False),
        (f"numpy!={NUMPY}", False),
        (f"NumPy=={NUMPY}", True),
        ("surely-not-installed", False),
        ("surely-not-installed==1; sys_platform == 'win32'", True),
        ("surely-not-installed==1; sys_platform != 'win32'", False),
        (f"numpy[extra]=={NUMPY}; python_version >= '3'", True),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="the markers mean another platform")
def test_whether_a_requirement_is_met_here(need: str, installed: bool) -> None:
    assert revisions._is_installed(need) is installed


def test_a_pre_release_that_is_pinned_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "2.0.0rc1")
    assert revisions._is_installed("numpy==2.0.0rc1")
    assert revisions._is_installed("numpy>=1")
    assert not revisions._is_installed("numpy==2.0.0")
