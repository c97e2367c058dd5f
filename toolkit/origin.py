"""Where a result comes from: the command line that made it, and the commit of this package."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from .files import PACKAGE

PROGRAM = "tiankong"
SECRETS = ("--header",)  # 'Name: value': the value may be a key
HIDDEN = "…"
GIT_SECONDS = 10.0
CHANGED = "+changed"
COMMAND = "TIANKONG_COMMAND"  # what was typed, set by a task runner that starts this program
COMMIT = "TIANKONG_COMMIT"  # set by who installs a checkout as a copy, which has no git of its own


def command_line(argv: Sequence[str] | None = None) -> list[str]:
    """Return the command line of this process if it is this program's, else an empty list.

    Where a task runner started it (``COMMAND``), it is the runner's: what has to be typed again.
    What shall not leave the machine is not in it: of a header only the name is left, of an absolute
    path only the last part.

    >>> command_line(["/usr/bin/tiankong", "sweep", "--header", "X-Key: s3cret", "--out=/tmp/a/b"])
    ['tiankong', 'sweep', '--header', 'X-Key: …', '--out=…/b']
    """
    program, *words = sys.argv if argv is None else argv
    place = Path(program)
    ours = place.stem == PROGRAM or place.resolve() == (PACKAGE / "__main__.py").resolve()
    if not ours:
        return []
    shown: list[str] = [PROGRAM]
    if argv is None and (typed := os.environ.get(COMMAND)):
        first, *words = shlex.split(typed)
        shown = [first]
    for word in words:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if not equals:
            option, value = "", word
        secret = (option or shown[-1]) in SECRETS
        shown.append(
            f"{option}{equals}{_without_secret(value) if secret else _without_place(value)}"
        )
    return shown


def _without_secret(header: str) -> str:
    name, colon, _ = header.partition(":")
    return f"{name.strip()}: {HIDDEN}" if colon else HIDDEN


def _without_place(word: str) -> str:
    return f"{HIDDEN}/{Path(word).name}" if Path(word).is_absolute() else word


def commit() -> str:
    """Return the git commit that this package is of; empty if that is not known.

    In a checkout it is that of HEAD, with "+changed" if tracked files differ from it; otherwise the
    commit that pip recorded when it installed from a repository (PEP 610), else ``COMMIT``.
    """
    root = (PACKAGE / "pyproject.toml").resolve().parent  # the package may be a folder of links
    if (root / ".git").exists():
        return _of_checkout(root)
    with suppress(metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        recorded = metadata.distribution(PROGRAM).read_text("direct_url.json")
        return str(json.loads(recorded or "")["vcs_info"]["commit_id"])
    return os.environ.get(COMMIT, "")


def _of_checkout(root: Path) -> str:
    head = _git(root, "rev-parse", "--verify", "HEAD")
    if not head:
        return ""
    return head + CHANGED * bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


def _git(root: Path, *words: str) -> str:
    # A hook of another repository sets variables that would name that one.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True, text=True, env=environ, timeout=GIT_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if done.returncode else done.stdout.strip()
