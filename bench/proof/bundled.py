"""Proof that a bundle is enough: installed into nothing, by nobody, it serves the same answers.

    python -m tiankong.bench.proof.bundled --variant onnx-int8

``tiankong bundle`` writes a folder.  In it a user without rights makes a virtual environment and
installs ``requirements.txt`` with ``--require-hashes``; then pip is removed, as the bundle's README
says, everything there is made unwritable, and the server is started from there, with nothing of the
environment we run in.  The gold sentences are
asked one by one and the answers held to those that the variant gives here.  (As root: the user
``nobody``, by setpriv.  As anybody else: oneself.)

What is counted is what the files take on the disk (blocks, as ``du`` counts them): the whole
virtual environment, and the folder of the variant.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from ...toolkit.building.opening import open_variant
from ...toolkit.console import say
from ...toolkit.engines.predictor import Ranking
from ...toolkit.errors import GateFailedError, UnusableInputError
from ...toolkit.gate.answers import same_answer
from ...toolkit.gate.gold import read_gold
from ...toolkit.processes import free_port
from ..load.sentences import DEPTH, ask
from ..serving.accounting import memory
from ..serving.served import started
from .program import command_line, ended_well

NOBODY = 65534
TARGET_MEGABYTES = 400
INSTALLERS = ("setuptools", "pip")  # what venv brings along; of them only Python 3.11's the first
BLOCK = 512
UNWRITABLE = ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
KEPT = ("PATH", "LANG", "LC_ALL")  # of our variables; to install, pip's own too


@dataclass(frozen=True)
class BundleProof:
    """What came out: bytes on the disk, seconds, bytes resident, answers and those that differ.

    ``installed`` is the environment before pip was taken out of it, ``kept`` what the server wrote.
    """

    installed: int
    environment: int
    variant: int
    kept: int
    start_seconds: float
    resident: int
    asked: int
    differing: tuple[str, ...]

    @property
    def whole(self) -> int:
        """Bytes of environment and variant."""
        return self.environment + self.variant


@dataclass(frozen=True)
class Stranger:
    """Who installs and serves: a home of its own, none of our environment, no rights."""

    home: Path

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.home / "bundle"

    @property
    def kept(self) -> Path:
        """The only folder it can write to: what the server prepares is kept there."""
        return self.home / "kept"

    @property
    def venv(self) -> Path:
        """The environment it makes."""
        return self.home / "venv"

    @property
    def python(self) -> Path:
        """The Python of the environment it made."""
        return self.venv / "bin" / "python"

    def command(self, *argv: str | Path) -> list[str]:
        """Return an argv that runs as the user without rights, in the bundle, with little else."""
        words = [str(word) for word in argv]
        within = ["env", "--ignore-environment", f"--chdir={self.bundle}", f"HOME={self.home}"]
        drop = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("--no-new-privs", "--bounding-set=-all"),
        ]
        return [*(drop if os.geteuid() == 0 else []), *within, *_kept(), *words]

    def base_python(self) -> str:
        """Return a Python of our own version that this user may run, with venv and pip.

        Raises UnusableInputError if there is none (it may lie in a home closed to others).
        """
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for found in (
            os.path.realpath(sys.executable),
            f"/usr/local/bin/{name}",
            f"/usr/bin/{name}",
        ):
            asked = subprocess.run(self.command(found, "-c", "import ensurepip, venv"),
                                   capture_output=True)  # fmt: skip
            if asked.returncode == 0:
                return found
        raise UnusableInputError(f"there is no {name} with venv that a user without rights may run")

    def run(self, *argv: str | Path) -> str:
        """Run a command to its end; raise GateFailedError with its last word if it fails."""
        words = self.command(*_pips(), *argv)
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
            raise GateFailedError(f"{argv[0]} ended with exit code {done.returncode}: {last}")
        return done.stdout


def _kept() -> list[str]:
    return [f"{name}={value}" for name, value in os.environ.items() if name in KEPT]


def _pips() -> list[str]:
    """Return how pip is configured here by variables: an index is not the bundle's to say."""
    given = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return [f"{name}={value}" for name, value in given.items()]


@contextmanager
def stranger() -> Iterator[Stranger]:
    """Yield somebody with an empty home, which is removed in the end."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        raise UnusableInputError("as root this needs setpriv (package util-linux), or another user")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "bundle").mkdir()
        try:
            yield Stranger(home)
        finally:
            for path in (home, *home.rglob("*")):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)


def install(who: Stranger) -> int:
    """Make an empty virtual environment as somebody, and install the bundle's requirements.

    Returns the bytes it takes before pip is removed.
    """
    if os.geteuid() == 0:
        os.chown(who.home, NOBODY, NOBODY)
    who.run(who.base_python(), "-m", "venv", who.venv)
    who.run(who.python, "-m", "pip", "install", "--quiet", "--require-hashes", "--no-cache-dir",
            "-r", "requirements.txt")  # fmt: skip
    size = on_disk(who.venv)
    who.run(who.python, "-m", "pip", "uninstall", "--quiet", "--yes", *INSTALLERS)
    who.kept.mkdir()
    for path in (who.home, *who.home.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & UNWRITABLE)
    who.kept.chmod(0o777)  # as container, unit and pod have it
    return size


def serve_and_ask(who: Stranger, texts: Sequence[str]) -> tuple[float, int, list[Ranking]]:
    """Return seconds to ready, bytes resident after all questions, and the answers."""
    where = who.run(who.python, "-c", "import tiankong; print(tiankong.__file__)").strip()
    if not Path(where).is_relative_to(who.home):
        raise GateFailedError(f"what is served is not the bundle's: {where}")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    places = ("TMPDIR=/nonexistent", f"TIANKONG_ARTIFACTS={who.kept}")
    argv = who.command(*places, who.python, "-m", "tiankong.server",
                       "--variant-dir=variant", f"--port={port}")  # fmt: skip
    began = monotonic()
    with started("the bundle's server", argv, {}) as process:
        process.await_ready(f"{url}/health/ready")
        seconds = monotonic() - began
        answers = list(ask(url, texts).expected)
        process.require_alive()
        return seconds, memory(process.pid)[0], answers


def prove(who: Stranger) -> BundleProof:
    """Install the bundle in somebody's home, serve from it, ask the gold sentences and compare."""
    installed = install(who)
    texts = read_gold().texts()
    seconds, resident, given = serve_and_ask(who, texts)
    variant = who.bundle / "variant"
    predictor = open_variant(variant)
    # Deeper than what is given: two tokens may be tied for the last place.
    expected = [predictor.predict([text], 2 * DEPTH)[0][0] for text in texts]
    pairs = zip(texts, expected, given, strict=True)
    differing = tuple(text for text, mine, its in pairs if not same_answer(mine, its))
    sizes = (installed, on_disk(who.venv), on_disk(variant), on_disk(who.kept))
    return BundleProof(*sizes, seconds, resident, len(texts), differing)


def on_disk(path: Path) -> int:
    """Return the bytes that a file, or a folder with all that is in it, takes on the disk."""
    within = path.rglob("*") if path.is_dir() else ()
    return sum(each.lstat().st_blocks * BLOCK for each in (path, *within))


def table(proof: BundleProof) -> str:
    """Return the figures as a Markdown table."""
    rows = {
        "environment": f"{proof.environment / 1e6:.0f} MB",
        "variant": f"{proof.variant / 1e6:.0f} MB",
        "both": f"{proof.whole / 1e6:.0f} MB (target: {TARGET_MEGABYTES})",
        "both, with pip and setuptools": f"{(proof.installed + proof.variant) / 1e6:.0f} MB",
        "kept prepared beside them": f"{proof.kept / 1e6:.0f} MB",
        "start to ready": f"{proof.start_seconds:.2f} s",
        "resident": f"{proof.resident / 1e6:.0f} MB",
        "answers": f"{proof.asked}, {len(proof.differing)} not as expected",
    }
    return "\n".join(["| what | figure |", "| --- | --- |",
                      *(f"| {name} | {value} |" for name, value in rows.items())])  # fmt: skip


def main() -> None:
    """Make the bundle, prove it, print the table."""
    parser = command_line("bundled", __doc__)
    parser.add_argument("--variant", default="onnx-int8")
    given = parser.parse_args()
    with ended_well("bundled"), stranger() as who:
        argv = [sys.executable, "-m", "tiankong", "bundle", given.variant, str(who.bundle)]
        if subprocess.run([*argv, "--model", given.model]).returncode != 0:
            raise GateFailedError("there is no bundle to prove")
        say("bundled: it is installed, served and asked")
        found = prove(who)
    print(table(found))
    if found.differing or found.whole > TARGET_MEGABYTES * 1e6:
        sys.exit(1)


if __name__ == "__main__":
    main()
