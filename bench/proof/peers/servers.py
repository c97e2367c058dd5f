"""Other ways to serve the same files: starts and stops the scripts of ``bench/peers/``.

``bench/peers/<peer>/serve.py`` is a separate program, as that library's documentation shows,
in a separate environment (``requirements.txt``); it imports nothing of ours.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from ....server.settings import Settings
from ....server.settings import table as settings_table
from ....toolkit.building.folders import Built
from ....toolkit.errors import UnusableInputError
from ....toolkit.files import PACKAGE
from ....toolkit.machine import usable_cores
from ....toolkit.processes import free_port
from ....toolkit.runs.load import ARTICLE_STACK, REFERENCE_STACK
from ...load.dialects import DIALECTS, KSERVE, LISTS, PREDICT
from ...load.target import Target
from ...serving.accounting import processes
from ...serving.served import Served, serve, started

RAY = "ray"
"""Our server in several replicas behind Ray Serve; its options are settings, such as replicas."""
OURS = ("server", "toolkit")  # the packages that our servers' programs consist of
PEERS = PACKAGE / "bench" / "peers"
FILES: dict[str, tuple[str, ...]] = {
    "transformers_pipeline": ("pytorch-fp32",),
    "optimum_onnxruntime": ("onnx-fp32", "onnx-int8"),
    "litserve": ("onnx-int8",),
    "ray_batch": ("onnx-int8",),
    "bentoml": ("onnx-int8",),
    "mlserver": ("onnx-int8",),
    "pytriton": ("onnx-int8",),
    "onnxruntime_openvino": ("onnx-fp32", "onnx-int8"),
}
"""The variants each peer serves unless told otherwise."""
SPOKEN = {"bentoml": LISTS, "mlserver": KSERVE, "pytriton": KSERVE}
"""The dialects of peers that have one of their own."""
ONE_USER = (
    "litserve@workers=1+threads={cores}",
    "ray_batch@replicas=1+batch-wait=0",
    "bentoml@workers=1+threads={cores}",
    "mlserver@workers=0+threads={cores}+max-batch=1",
    "pytriton@instances=1+threads={cores}",
    "onnxruntime_openvino@streams=1+threads={cores}",
)
"""Settings that are better at one user than the usual ones, which are so at many."""
USUAL = ",".join((*FILES, *ONE_USER)).format(cores=usable_cores())
COPIES = {
    "litserve": "workers",
    "ray_batch": "replicas",
    "bentoml": "workers",
    "mlserver": "workers",
    "pytriton": "instances",
    "onnxruntime_openvino": "streams",
}
"""The option of a peer that says how many batches it computes at a time; by default each core."""
ENDING_SECONDS = 10.0


@dataclass(frozen=True)
class Contestant:
    """One server to measure: our stack, the article's or a peer, with one variant.

    ``options`` are a peer's own, given to its script as ``--name value``.
    """

    server: str
    variant: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is the reference server."""
        return self.server == REFERENCE_STACK

    @property
    def name(self) -> str:
        """Return what tables and files call it: ``litserve:onnx-int8@workers=1+threads=2``."""
        options = "+".join(f"{key}={value}" for key, value in self.options)
        return f"{self.server}:{self.variant}" + (f"@{options}" if options else "")

    @property
    def label(self) -> str:
        """Return the name of the server, with its options, in a table."""
        return self.name.replace(f":{self.variant}", "").replace("@", " ").replace("+", ", ")


def budget(contestant: Contestant, cores: int) -> int:
    """Return how many threads the engine of a server has by its settings.

    Our batches share the cores.  The article's two workers have ONNX Runtime's default each.
    """
    if contestant.server == ARTICLE_STACK:
        return 2 * cores
    given = {key: int(value) for key, value in contestant.options if value.isdecimal()}
    if contestant.server not in COPIES:
        return cores if contestant.server == RAY else given.get("threads", cores)
    copies = max(1, given.get(COPIES[contestant.server], cores))  # 0: in the server's own process
    usual = max(1, cores // copies) if contestant.server == "ray_batch" else 1
    return copies * given.get("threads", usual)


def require_equal_budgets(contestants: Sequence[Contestant], cores: int) -> None:
    """Raise UnusableInputError for a peer whose engine has not a thread for each core."""
    for each in contestants:
        if each.server != ARTICLE_STACK and (threads := budget(each, cores)) != cores:
            raise UnusableInputError(
                f"{each.name}: {threads} threads for its engine, everybody else has {cores}"
            )


def parse_peers(text: str, folder: Path = PEERS) -> list[Contestant]:
    """Return the contestants of ``litserve,litserve:onnx-fp32@workers=1+threads=2``.

    Raises UnusableInputError for an unknown peer or an option without a value.
    """
    found: list[Contestant] = []
    for part in filter(None, text.split(",")):
        head, _, tail = part.partition("@")
        peer, _, variant = head.partition(":")
        if peer not in (RAY, *FILES) and not script(peer, folder).is_file():
            known = ", ".join(sorted({*FILES, *(p.parent.name for p in folder.glob("*/serve.py"))}))
            raise UnusableInputError(f"there is no peer {peer!r} in {folder}; known: {known}")
        pairs = [each.partition("=") for each in filter(None, tail.split("+"))]
        if not all(key and value for key, _, value in pairs):
            raise UnusableInputError(f"{part!r}: options read NAME=VALUE+NAME=VALUE")
        options = tuple((key, value) for key, _, value in pairs)
        if peer == RAY:
            _require_settings(part, options)
        variants = (variant,) if variant else FILES.get(peer, ("onnx-int8",))
        found += [Contestant(peer, each, options) for each in variants]
    return found


def _require_settings(part: str, options: Sequence[tuple[str, str]]) -> None:
    known = {row.name for row in settings_table("speed", "replicas") if row.kind is int}
    if wrong := sorted(key for key, value in options if key not in known or not value.isdecimal()):
        raise UnusableInputError(
            f"{part!r}: {', '.join(wrong)}: write a whole number for one of"
            f" {', '.join(sorted(known))}"
        )


def script(peer: str, folder: Path = PEERS) -> Path:
    """Return the program of a peer."""
    return folder / peer / "serve.py"


def digest(contestant: Contestant, built: Built, folder: Path = PEERS) -> str:
    """Return a digest of the variant and of the server's program: other ones make another row."""
    if contestant.server in (REFERENCE_STACK, ARTICLE_STACK, RAY):
        files = [path for room in OURS for path in sorted((PACKAGE / room).rglob("*.py"))]
    else:
        home = script(contestant.server, folder).parent
        files = [home / "serve.py", home / "requirements.txt"]
    parts = [built.manifest.digest.encode(), *(f.read_bytes() for f in files if f.is_file())]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


def opened(
    contestant: Contestant, built: Built, pythons: Mapping[str, Path], folder: Path = PEERS
) -> AbstractContextManager[Served]:
    """Return a context manager that serves a contestant while it is open."""
    settings = Settings(folder=built.folder)
    if contestant.ours:
        return serve("reference", settings)
    if contestant.server == ARTICLE_STACK:
        return serve("article", settings)
    if contestant.server == RAY:
        values: dict[str, Any] = {key: int(value) for key, value in contestant.options}
        return serve("ray", replace(settings, **values))
    options = [word for key, value in contestant.options for word in (f"--{key}", value)]
    python = pythons[contestant.server]
    dialect = SPOKEN.get(contestant.server, PREDICT)
    program = script(contestant.server, folder)
    return serve_peer(contestant.name, python, program, built, options, dialect)


@contextmanager
def serve_peer(
    name: str,
    python: Path,
    program: Path,
    built: Built,
    options: Sequence[str] = (),
    dialect: str = PREDICT,
) -> Iterator[Served]:
    """Start a peer on a free port and wait until it is ready; at the end stop its processes.

    Raises InvalidMeasurementError with the log's last line if it does not become ready, or if it
    ends while it is in use.
    """
    port = free_port()
    argv = [str(python), str(program), "--model-dir", str(built.folder), "--port", str(port)]
    url, begun = f"http://127.0.0.1:{port}", time.monotonic()
    left: list[psutil.Process] = []
    try:
        with started(name, [*argv, *options], _environment()) as process:
            process.await_ready(url + DIALECTS[dialect].ready)
            try:
                target = Target(url, dialect=dialect)
                yield Served(target, process.pid, time.monotonic() - begun, None)
                process.require_alive()
            finally:
                left = processes(process.pid)
    finally:
        _end(left)


def _environment() -> dict[str, str]:
    """Return the variables of a peer: number of cores, no module of ours, no access to the hub."""
    return {"PEER_CORES": str(usable_cores()), "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}


def _end(left: Sequence[psutil.Process]) -> None:
    """Wait for processes that a peer started in other sessions, and kill those that do not end."""
    _, alive = psutil.wait_procs(list(left), ENDING_SECONDS)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, ENDING_SECONDS)
