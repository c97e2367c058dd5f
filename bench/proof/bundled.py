"""Proof that a bundle is complete: installed by an unprivileged user, it serves the same answers.

    python -m tiankong.bench.proof.bundled --variant onnx-int8

``tiankong bundle`` writes a folder.  An unprivileged user creates a virtual environment and
installs ``requirements.txt`` in it with ``--require-hashes``.  Then pip is removed, as the
bundle's README says, all files are made read-only, and the server is started from there with
nothing of our own environment.  The gold sentences are sent one by one, and the answers compared
with those that the variant gives here.  (The user is ``nobody``, by setpriv, if this runs as root;
otherwise oneself.)

Sizes are what the files take on the disk (blocks, as ``du`` counts them): those of the virtual
environment and of the variant's folder.
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
from ..evidence.image import INSTALLERS, on_disk
from ..load.sentences import DEPTH, ask
from ..load.target import Target
from ..serving.accounting import memory
from ..serving.served import started
from .program import command_line, ended_well

NOBODY = 65534
TARGET_MEGABYTES = 400
UNWRITABLE = ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
KEPT = (
    "PATH",
    "LANG",
    "LC_ALL",
)  # environment variables passed on; pip's own (PIP_*) as well while installing


@dataclass(frozen=True)
class BundleProof:
    """The result: bytes on the disk, seconds, resident bytes, number of answers, texts that differ.

    ``installed`` is the size of the environment before pip is removed; ``kept`` is the size of what
    the server wrote.
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
        """Bytes of the environment and the variant together."""
        return self.environment + self.variant


@dataclass(frozen=True)
class Stranger:
    """The user who installs and serves: an own home, none of our environment, no privileges."""

    home: Path

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.home / "bundle"

    @property
    def kept(self) -> Path:
        """The only folder the user can write to; the server stores its prepared weights there."""
        return self.home / "kept"

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.home / "venv"

    @property
    def python(self) -> Path:
        """The Python of the virtual environment."""
        return self.venv / "bin" / "python"

    def command(self, *argv: str | Path) -> list[str]:
        """Return an argv that runs unprivileged, in the bundle's folder, with few variables."""
        words = [str(word) for word in argv]
        within = ["env", "--ignore-environment", f"--chdir={self.bundle}", f"HOME={self.home}"]
        drop = [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("--no-new-privs", "--bounding-set=-all"),
        ]
        return [*(drop if os.geteuid() == 0 else []), *within, *_kept(), *words]

    def base_python(self) -> str:
        """Return a Python of our version, with venv and pip, that this user may run.

        Raises UnusableInputError if there is none (it may lie in a home closed to others).
        """
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        for python in (
            os.path.realpath(sys.executable),
            f"/usr/local/bin/{name}",
            f"/usr/bin/{name}",
        ):
            probe = subprocess.run(self.command(python, "-c", "import ensurepip, venv"),
                                   capture_output=True)  # fmt: skip
            if probe.returncode == 0:
                return python
        raise UnusableInputError(f"there is no {name} with venv that a user without rights may run")

    def run(self, *argv: str | Path) -> str:
        """Run a command; raise GateFailedError with its last line of output if it fails."""
        words = self.command(*_pips(), *argv)
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
            raise GateFailedError(f"{argv[0]} ended with exit code {done.returncode}: {last}")
        return done.stdout


def _kept() -> list[str]:
    return [f"{name}={value}" for name, value in os.environ.items() if name in KEPT]


def _pips() -> list[str]:
    """Return the variables that configure pip here: the bundle does not say which index to use."""
    variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return [f"{name}={value}" for name, value in variables.items()]


@contextmanager
def stranger() -> Iterator[Stranger]:
    """Yield a user with an empty home folder, which is removed at the end."""
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
    """Create a virtual environment as the user, and install the bundle's requirements in it.

    Returns the bytes that the environment takes before pip is removed.
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
    who.kept.chmod(0o777)  # container, unit and pod have a writable folder too
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
        answers = list(ask(Target(url), texts).expected)
        process.require_alive()
        return seconds, memory(process.pid)[0], answers


def prove(who: Stranger) -> BundleProof:
    """Install the bundle as the user, serve from it, and compare the answers to the gold set."""
    installed = install(who)
    texts = read_gold().texts()
    seconds, resident, answers = serve_and_ask(who, texts)
    variant = who.bundle / "variant"
    predictor = open_variant(variant)
    # More places than the server returns: two tokens may be tied for the last place.
    expected = [predictor.predict([text], 2 * DEPTH)[0][0] for text in texts]
    pairs = zip(texts, expected, answers, strict=True)
    differing = tuple(text for text, mine, its in pairs if not same_answer(mine, its))
    sizes = (installed, on_disk(who.venv), on_disk(variant), on_disk(who.kept))
    return BundleProof(*sizes, seconds, resident, len(texts), differing)


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
        proof = prove(who)
    print(table(proof))
    if proof.differing or proof.whole > TARGET_MEGABYTES * 1e6:
        sys.exit(1)


if __name__ == "__main__":
    main()
