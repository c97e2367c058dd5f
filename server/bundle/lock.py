"""Locked requirements: every distribution that serving a variant takes, with its hash.

pip resolves and says what it would install (its installation report); only names, versions and
hashes are kept, so that no address of an index gets into the file.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...toolkit.errors import UnusableInputError
from ...toolkit.files import read_json

SERVING = "serve"  # the extra of all that serves, with the usual engine
ENGINES = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "pytorch": ("torch", "transformers"),
}
"""The distributions an engine needs; of others' engines none are installed."""
REPORT_VERSION = "1"
LINE = " \\\n    --hash=sha256:"


@dataclass(frozen=True)
class Pin:
    """One distribution: name and version, and the SHA-256 of the file that pip chose."""

    name: str
    version: str
    sha256: str

    @property
    def line(self) -> str:
        """The requirement as pip reads it."""
        return f"{self.name}=={self.version}{LINE}{self.sha256}"


def serving(declared: Iterable[str], engine: str) -> list[str]:
    """Return the requirements of serving with an engine, out of all that a package declares.

    Those that the package always has come with it and are not repeated.  Example: of
    ``starlette==1; extra == "serve"``, ``openvino==2; extra == "openvino"`` and an extra ``serve``
    with onnxruntime, the engine ``openvino`` gets starlette and openvino.
    """
    from packaging.requirements import Requirement

    engines = {name for names in ENGINES.values() for name in names}
    parsed = [Requirement(text) for text in declared]
    extra = {"extra": SERVING}
    mine = [r for r in parsed if r.marker and r.marker.evaluate(extra) and r.name not in engines]
    wanted = {r.name: r for r in parsed if r.name in ENGINES[engine]}
    return sorted(f"{r.name}{r.specifier}" for r in [*mine, *wanted.values()])


def resolve(wheel: Path, requirements: Sequence[str]) -> list[Pin]:
    """Return what pip would install of a wheel and further requirements into nothing, by name.

    Raises UnusableInputError if pip is missing or cannot resolve them (no index, no such wheel).
    """
    if find_spec("pip") is None:
        raise UnusableInputError(
            "pip resolves what is to be installed, and is not here: python -m ensurepip"
        )
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed",
                "--only-binary=:all:", "--quiet", "--no-input", "--disable-pip-version-check",
                f"--report={report}", str(wheel), *requirements]  # fmt: skip
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise UnusableInputError(
                f"pip cannot resolve what serving needs: {_reason(done.stderr)};"
                " is there a package index in reach?"
            )
        return pins(read_json(report))


def _reason(text: str) -> str:
    errors = [line[7:] for line in text.splitlines() if line.startswith("ERROR: ")]
    return (errors or text.strip().splitlines() or ["no word of why"])[-1].strip().rstrip(".")


def pins(report: Any) -> list[Pin]:
    """Return the pins of pip's installation report; raise UnusableInputError for another format."""
    try:
        if report["version"] != REPORT_VERSION:
            raise UnusableInputError(f"pip's report has format {report['version']}, not 1")
        found = [
            Pin(
                item["metadata"]["name"],
                item["metadata"]["version"],
                item["download_info"]["archive_info"]["hashes"]["sha256"],
            )
            for item in report["install"]
        ]
    except (KeyError, TypeError) as error:
        given = json.dumps(report)[:80]
        raise UnusableInputError(f"pip's report lacks {error}: {given}") from None
    return sorted(found, key=lambda pin: pin.name.lower())


def requirements_text(pins: Sequence[Pin], wheels: str) -> str:
    """Return a requirements file; ``wheels`` is the folder of our wheel, beside the file."""
    head = (
        f"# Resolved for {interpreter()} on {target()}; elsewhere make the bundle anew.",
        "# pip install --require-hashes -r requirements.txt",
        "--only-binary :all:",
        f"--find-links {wheels}",
    )
    return "\n".join([*head, *(pin.line for pin in pins)]) + "\n"


def interpreter() -> str:
    """Return the kind of Python the files are for, as in ``CPython 3.11``."""
    return f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}"


def target() -> str:
    """Return system and processor, as in ``Linux x86_64``."""
    return f"{platform.system()} {platform.machine()}"
