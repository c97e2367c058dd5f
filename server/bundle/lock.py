"""Locked requirements: every distribution that serving a variant needs, with its hash.

pip resolves them and reports what it would install (its installation report).  Only names, versions
and hashes are taken from it, so that the file contains no address of an index.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...toolkit.engines.kinds import KINDS, kind_of
from ...toolkit.errors import UnusableInputError
from ...toolkit.files import read_json

SERVING = "serve"  # the extra with everything for serving, and the default engine
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
    """Return the requirements of serving with an engine, from all that a package declares.

    The package's unconditional requirements are installed with it and not repeated here.  What an
    engine needs and the package does not declare is pinned to the version installed here.  Example:
    of ``starlette==1; extra == "serve"``, ``onnxruntime==1; extra == "serve"`` and
    ``openvino==2; extra == "openvino"``, the engine ``openvino`` gets starlette and openvino.
    """
    from packaging.requirements import Requirement

    engines = {name for kind in KINDS.values() for name in kind.distributions}
    parsed = [Requirement(text) for text in declared]
    extra = {"extra": SERVING}
    common = [r for r in parsed if r.marker and r.marker.evaluate(extra) and r.name not in engines]
    wanted = kind_of(engine).distributions
    own = {r.name: r for r in parsed if r.name in wanted}
    pinned = [f"{name}=={_installed(name)}" for name in wanted if name not in own]
    return sorted({f"{r.name}{r.specifier}" for r in [*common, *own.values()]} | {*pinned})


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        raise UnusableInputError(f"serving needs {name}, which is not installed") from None


def resolve(wheel: Path, requirements: Sequence[str]) -> list[Pin]:
    """Return what pip would install for a wheel and ``requirements`` in an empty environment.

    The pins are sorted by name.  Raises UnusableInputError if pip is missing or cannot resolve the
    requirements (no index, no such wheel).
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
    return (errors or text.strip().splitlines() or ["it gave no reason"])[-1].strip().rstrip(".")


def pins(report: Any) -> list[Pin]:
    """Return the pins of pip's installation report; raise UnusableInputError for another format."""
    try:
        if report["version"] != REPORT_VERSION:
            raise UnusableInputError(f"pip's report has format {report['version']}, not 1")
        resolved = [
            Pin(
                item["metadata"]["name"],
                item["metadata"]["version"],
                item["download_info"]["archive_info"]["hashes"]["sha256"],
            )
            for item in report["install"]
        ]
    except (KeyError, TypeError) as error:
        excerpt = json.dumps(report)[:80]
        raise UnusableInputError(f"pip's report lacks {error}: {excerpt}") from None
    return sorted(resolved, key=lambda pin: pin.name.lower())


def requirements_text(pins: Sequence[Pin], wheels: str) -> str:
    """Return the text of a requirements file; ``wheels``, beside it, is the folder of our wheel."""
    head = (
        f"# Resolved for {interpreter()} on {target()}; elsewhere make the bundle anew.",
        "# pip install --require-hashes -r requirements.txt",
        "--only-binary :all:",
        f"--find-links {wheels}",
    )
    return "\n".join([*head, *(pin.line for pin in pins)]) + "\n"


def interpreter() -> str:
    """Return the running Python's implementation and version, for example ``CPython 3.11``."""
    return f"{platform.python_implementation()} {'.'.join(platform.python_version_tuple()[:2])}"


def target() -> str:
    """Return system and processor, for example ``Linux x86_64``."""
    return f"{platform.system()} {platform.machine()}"
