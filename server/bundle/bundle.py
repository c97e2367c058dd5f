"""A deployment folder: a variant, the package, locked requirements, and how to run them.

    DIR/variant/                 the built variant
    DIR/wheels/                  this package
    DIR/requirements.txt         everything that serving needs, with hashes
    DIR/Dockerfile, compose.yaml, tiankong.service, kubernetes/, README.md

The files in the last line are made from the templates in ``deployment/``.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...toolkit.building.folders import Built
from ...toolkit.building.manifest import NAME as MANIFEST
from ...toolkit.building.manifest import Manifest
from ...toolkit.errors import GateFailedError, UnusableInputError
from ...toolkit.files import MEBIBYTE, folder_written_whole, package_path, require_disk, write_text
from ...toolkit.machine import fingerprint
from ...toolkit.telemetry import SWITCHES
from ..settings import Settings
from .distribution import NAME, distribution, write_wheel
from .lock import Pin, interpreter, requirements_text, resolve, serving, target
from .sizing import HEADROOM, MARGIN, Footprint

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = package_path("server/deployment")
PLACE = "/opt/tiankong"  # where the systemd unit expects the bundle
PORT, USER = 8080, 10001
PAUSE_SECONDS = 5  # until a pod that is to end is no longer in the cluster's list of endpoints
GRACE_SECONDS = 10  # for the process to exit after the last answer
# Not urllib: it would use a proxy from the environment.  The exit code is the result.
PROBE = (
    f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {PORT}, timeout=2);"
    " c.request('GET', '/health/ready'); exit(c.getresponse().status != 200)"
)
DEBIANS = (("bookworm", (2, 36)), ("trixie", (2, 41)))  # releases and their glibc
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LIBRARIES = ("jinja2", "packaging", "wheel")
ROOM = 64 * MEBIBYTE  # bytes on disk for everything except the variant


@dataclass(frozen=True)
class BundleTerms:
    """What the user chooses: the image's name (empty: the variant's) and the replicas.

    ``utilization`` is the CPU percentage above which the autoscaler adds replicas.
    """

    image: str = ""
    replicas: int = 2
    most_replicas: int = 8
    utilization: int = 70

    def __post_init__(self) -> None:
        if not 1 <= self.replicas <= self.most_replicas:
            raise UnusableInputError(
                f"{self.replicas} replicas, at most {self.most_replicas}: the number must be"
                " at least 1 and not above the maximum"
            )


def require_possible(folder: Path, manifest: Manifest) -> None:
    """Raise an error if the bundle cannot be made, before anything takes time.

    UnusableInputError: the folder is not empty, the disk is full, the package or a library is not
    installed, the variant needs another device than the CPU, or containers do not run this
    platform.  GateFailedError: the variant failed the gate.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise UnusableInputError(f"this needs {missing[0]}: pip install 'tiankong[bundle]'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UnusableInputError(f"{folder} is there and not empty: name a new folder")
    if manifest.recipe.device != "cpu":
        raise UnusableInputError(f"{manifest.variant} runs on {manifest.recipe.device}: no bundle")
    if platform.libc_ver()[0] != "glibc" or platform.machine() not in ARCHITECTURES:
        raise UnusableInputError(
            f"bundles are made on Linux with glibc, x86_64 or aarch64: this is {target()}"
        )
    if manifest.gate is not None and not manifest.gate["passed"]:
        raise GateFailedError(f"{manifest.variant} did not pass the gate: see 'tiankong check'")
    distribution()
    require_disk(folder, manifest.size + ROOM, "the bundle")


def write_bundle(
    folder: Path, built: Built, settings: Settings, footprint: Footprint, terms: BundleTerms
) -> list[Pin]:
    """Write the bundle, completely or not at all; return the pinned requirements.

    ``settings`` are those the server is started with (except folder, host and port).  Raises the
    errors of :func:`require_possible`, and UnusableInputError if the requirements cannot be
    resolved or the variant is damaged.
    """
    manifest = built.manifest
    require_possible(folder, manifest)
    manifest.verify(built.folder)
    with folder_written_whole(folder) as place:
        for name in (*manifest.files, MANIFEST):
            copy = place / "variant" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(built.folder / name, copy)
        pins = write_requirements(place, manifest.recipe.engine)
        values = _values(manifest, settings, footprint, terms) | _pin_values(pins)
        for template in sorted(TEMPLATES.rglob("*.j2")):
            name = template.relative_to(TEMPLATES).as_posix()
            write_text(place / _file_name(name), _environment().get_template(name).render(values))
        _make_readable(place)
    return pins


def write_requirements(place: Path, engine: str) -> list[Pin]:
    """Write this package's wheel and the locked requirements of an engine; return the pins.

    Raises UnusableInputError if the requirements cannot be resolved.
    """
    wheel = write_wheel(place / "wheels")
    pins = resolve(wheel, serving(distribution().requires or (), engine))
    write_text(place / "requirements.txt", requirements_text(pins, "wheels"))
    return pins


def _file_name(template: str) -> str:
    name = template.removesuffix(".j2")
    return f".{name}" if name == "dockerignore" else name


def _make_readable(place: Path) -> None:
    """Let every user read the files: the server runs as another user than the files' owner."""
    place.chmod(0o755)
    for path in place.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _values(
    manifest: Manifest, settings: Settings, footprint: Footprint, terms: BundleTerms
) -> dict[str, Any]:
    """Return the values for the templates, except those of the pins."""
    version = version_of(NAME)
    title = f"{manifest.variant} of {manifest.model.get('title', manifest.model['name'])}"
    # With the digest: a machine that has an image of the same name would not fetch a new one.
    label = f"{version.replace('+', '-')}-{manifest.digest[:12]}"
    return {
        "title": title,
        "name": f"{NAME}-{manifest.variant}".strip("-"),
        "variant": manifest.variant,
        "variant_megabytes": round(manifest.size / 1e6),
        "model": manifest.model["name"],
        "built": manifest.built,
        "digest": manifest.digest,
        "gated": manifest.gate is not None,
        "version": version,
        "label": label,
        "image": terms.image or f"{NAME}-{manifest.variant}:{label}",
        "terms": terms,
        "footprint": footprint,
        "measured": _measured(footprint),
        "margin": round(100 * (MARGIN - 1)),
        "headroom": round(100 * (HEADROOM - 1)),
        "cpu": fingerprint()["cpu"],
        "tasks": 256 + 8 * footprint.cores,
        "deadline": f"{settings.deadline:g}",
        "grace": round(settings.drain_delay + settings.deadline) + GRACE_SECONDS,
        "pause": PAUSE_SECONDS,
        "port": PORT,
        "uid": USER,
        "kept": "/var/cache/tiankong",
        "switches": [f"{name}={value}" for name, value in SWITCHES.items()],
        "probe": PROBE,
        "place": PLACE,
        "interpreter": interpreter(),
        "target": target(),
        "python": f"python{_python()}",
        "python_image": f"python:{_python()}-slim-{_debian()}",
        "platform": f"linux/{ARCHITECTURES[platform.machine()]}",
        "architecture": ARCHITECTURES[platform.machine()],
        "command": json.dumps(start_command(settings, "python", "/app/variant", "0.0.0.0")),
        "service_command": " ".join(
            start_command(settings, f"{PLACE}/venv/bin/python", f"{PLACE}/variant", "127.0.0.1")
        ),
        "shell_command": " ".join(start_command(settings, "python", "variant", "127.0.0.1")),
    }


def _pin_values(pins: Sequence[Pin]) -> dict[str, Any]:
    """Return the templates' values of pins: all, and an index's own builds (PyTorch's for CPUs)."""
    return {"pins": pins, "own_builds": [p for p in pins if "+" in p.version and p.name != NAME]}


def start_command(settings: Settings, python: str, variant: str, host: str) -> list[str]:
    """Return the command that serves where the bundle is, with these settings but for the place."""
    own = ["--variant-dir", variant, "--host", host, "--port", str(PORT)]
    return [python, "-m", "tiankong.server", *own, *settings.arguments(place=False)]


def _measured(footprint: Footprint) -> dict[str, str]:
    """Return the measured figures as texts for comments."""
    cores = f"{footprint.cores} core{'s' if footprint.cores > 1 else ''}"
    where = f"measured here on {footprint.day} with {cores}"
    resident, peak = footprint.resident_mebibytes, footprint.peak_mebibytes
    return {
        "memory": f"{where}: {resident} MiB resident, {peak} MiB at most.",
        "resident": f"{where}: {resident} MiB after {footprint.sentences} sentences.",
        "peak": f"{where}: {peak} MiB at most, sentences of {footprint.longest} tokens too.",
        "start": f"{where}: {footprint.start_seconds:.1f} s from start to ready.",
    }


def _python() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def _debian() -> str:
    """Return the first Debian release with at least this machine's glibc (else the last one)."""
    here = tuple(int(part) for part in platform.libc_ver()[1].split("."))
    return next((name for name, glibc in DEBIANS if glibc >= here), DEBIANS[-1][0])


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
