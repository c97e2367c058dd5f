"""Start a stack: the command line and environment of a subprocess, or right here."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..toolkit.building.manifest import read_manifest
from ..toolkit.console import say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import artifacts
from .ending import ended_at_once
from .settings import BODY_LIMIT, DEADLINE, Settings

if TYPE_CHECKING:
    from ..toolkit.engines.predictor import Predictor
    from .settings import Stack
VARIANT_DIR = "TIANKONG_VARIANT_DIR"
STANDARD_ERROR = 2
ARTICLE_TIMEOUT = 120  # seconds; the model loads inside it
PLACE = {"folder", "host", "port"}
REPLICAS = {"replicas", "max_replicas"}
CONNECTIONS = {"connections", "head_deadline"}
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_COLOR_PREFIX": "0",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # a dead one is replaced so soon
    "RAY_local_fs_capacity_threshold": "1.0",  # nothing is stored: a full disk is no news
    # Ray's own ports take commands: they are this machine's, and want a password besides.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # its only word for "listen on 127.0.0.1"
    "RAY_AUTH_MODE": "token",
    # These would take away the proxy in which the middleware is.
    "RAY_SERVE_ENABLE_HA_PROXY": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "tiankong.server.retries.middlewares",
}


def command(stack: Stack, settings: Settings) -> list[str]:
    """Return the argv that serves ``settings.folder`` with a stack (see :func:`environment`).

    The article's stack takes folder, host and port only: the rest is as its article has it.
    """
    match stack:
        case "reference":
            return [sys.executable, "-m", "tiankong.server", *_arguments(settings)]
        case "ray":
            own = [
                f"--replicas={settings.replicas or 1}",
                f"--max-replicas={settings.max_replicas}",
            ]
            return [*command("reference", settings), *own]
        case "article":
            return [
                *(sys.executable, "-m", "gunicorn", "--workers=2", "--threads=4"),
                *("--worker-class=gthread", f"--timeout={ARTICLE_TIMEOUT}"),
                # Its place is one file per user, so two servers would fight over it.
                *("--no-control-socket", f"--bind={_address(settings)}"),
                "tiankong.server.article:create_app()",
            ]


def environment(stack: Stack, settings: Settings) -> dict[str, str]:
    """Return the variables a stack needs on top of the caller's environment."""
    match stack:
        case "reference":
            return {}
        case "article":
            return {VARIANT_DIR: str(settings.folder.absolute())}
        case "ray":
            from secrets import token_hex

            own = {DEADLINE: str(settings.deadline), BODY_LIMIT: str(settings.body_limit)}
            return RAY_ENVIRONMENT | {"RAY_AUTH_TOKEN": token_hex(32)} | own


def require_takes(stack: Stack, settings: Settings) -> None:
    """Raise UnusableInputError if something was set that a stack does not have.

    Raises ModuleNotFoundError if the stack is ``ray`` and Ray is not installed.
    """
    own = {
        "reference": settings.changed() & REPLICAS,
        "article": settings.changed() - PLACE,
        "ray": settings.changed() & CONNECTIONS,  # those are Ray's proxy's
    }
    if wrong := sorted(f"--{name.replace('_', '-')}" for name in own.get(stack, ())):
        options = ", ".join(wrong)
        if stack == "ray":
            raise UnusableInputError(
                f"{options}: not with --stack ray, whose connections are Ray's"
            )
        if stack == "reference":
            raise UnusableInputError(f"{options}: only with --stack ray (Ray Serve)")
        raise UnusableInputError(
            f"the article's server takes --model, --variant, --host and --port only, not {options}"
        )
    if stack == "ray" and find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")


def run(stack: Stack, settings: Settings) -> None:
    """Serve with a stack until SIGTERM or SIGINT.

    Raises UnusableInputError if the port is taken, or the variant of no use to this stack.
    """
    runners: dict[Stack, Callable[[Settings], None]] = {
        "reference": run_reference,
        "article": run_article,
        "ray": run_ray,
    }
    runners[stack](settings)


def run_ray(settings: Settings) -> None:
    """Serve with Ray Serve on this machine until SIGTERM or SIGINT.

    Raises UnusableInputError if the port is taken, the file of API keys of no use, or the variant
    missing or damaged.
    """
    if settings.api_key_file:
        _require_keys(settings.api_key_file)
    with bind(settings) as listener:  # Ray does not say clearly that a port is taken
        port = listener.getsockname()[1]
    from ..toolkit.building.availability import require

    manifest = read_manifest(settings.folder)
    require(manifest.recipe)
    manifest.verify(settings.folder)
    os.environ.update(environment("ray", settings))  # Ray reads it when it is imported
    from .ray_serve import serve

    serve(replace(settings, port=port, replicas=settings.replicas or 1))


def run_reference(
    settings: Settings, open_predictor: Callable[[Settings], Predictor] | None = None
) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    ``open_predictor`` opens what is served (None: :func:`open_served`).  Raises UnusableInputError
    if the port is taken, the file of API keys of no use, or the variant missing or damaged.
    """
    with ended_at_once(_remove_scratch):  # until Uvicorn hears the signals
        # A bad file of keys or a taken port should not cost the wait for the model.
        if settings.api_key_file:
            _require_keys(settings.api_key_file)
        gc.disable()  # until the server has settled: what is there by then stays
        with bind(settings) as listener:
            library = read_manifest(settings.folder).recipe.engine
            if library != "pytorch":  # it may compute with OpenBLAS too
                # NumPy's threads, which nothing here uses, would begin by running in circles.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            with ThreadPoolExecutor(1) as beside:
                opening = beside.submit(open_predictor or open_served, settings)
                from ..toolkit.engines.kinds import import_engine

                # First what the model waits for, then what takes as long to import as it to open.
                import_engine(library)
                from .reference import serve

                predictor = opening.result()
            serve(predictor, settings, listener)


def _remove_scratch() -> None:
    """Remove what a thread may be writing just now: the prepared form of the model (prepared.py).

    Processes in containers that share the folder have the same number: who has the lock writes.
    """
    prepared = (artifacts() / "prepared").absolute()
    if not _has(prepared / ".lock"):
        return
    # What fails in the thread from here on is no news.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_ERROR)
    for scratch in prepared.glob(f".*.{os.getpid()}.part"):
        gone = scratch.with_suffix(".gone")  # so that the thread can add nothing to it
        with suppress(OSError):
            scratch.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _has(lock: Path) -> bool:
    """Tell whether this process has locked a file, not only opened it to wait for the lock."""
    for descriptor in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            if descriptor.readlink() == lock.resolve():
                fcntl.flock(int(descriptor.name), fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
    return False


def open_served(settings: Settings) -> Predictor:
    """Return the predictor as the reference server has it.

    Batches share the cores unless the settings give each its threads, or packed weights cannot be
    kept here; that is said.  Raises UnusableInputError as :func:`.open_variant` does.
    """
    from ..toolkit.building.opening import open_variant
    from ..toolkit.engines.prepared import NotPreparedError

    if not settings.threads and not settings.spin:
        try:
            return open_variant(settings.folder, share=True)
        except NotPreparedError as error:
            say(f"{error}; every batch gets all cores (a writable TIANKONG_ARTIFACTS mends that)")
    return open_variant(settings.folder, settings.threads, spin=settings.spin)


def run_article(settings: Settings) -> NoReturn:
    """Become the article's server (Gunicorn takes this process's place).

    Raises UnusableInputError if the port is taken or the variant is damaged or not an ONNX one.
    """
    require_article(settings)
    read_manifest(settings.folder).verify(settings.folder)
    bind(settings).close()
    argv = command("article", settings)
    os.execve(argv[0], argv, {**os.environ, **environment("article", settings)})


def require_article(settings: Settings) -> None:
    """Raise UnusableInputError unless the article's stack can serve the folder."""
    manifest = read_manifest(settings.folder)
    if manifest.recipe.engine != "onnxruntime":
        raise UnusableInputError(
            f"the article's stack runs ONNX variants, {manifest.variant} is a"
            f" {manifest.recipe.engine} one: choose another with --variant"
        )


def bind(settings: Settings) -> socket.socket:
    """Return a TCP socket bound to host and port; raise UnusableInputError if it cannot be."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise UnusableInputError(
            f"cannot listen on {_address(settings)}: {error.strerror}; choose another --port"
        ) from None
    return listener


def deviations(settings: Settings) -> list[str]:
    """Return the options with which a server is told what is not as usual, but where it listens."""
    usual = _arguments(Settings(folder=settings.folder, host=settings.host, port=settings.port))
    return [option for option in _arguments(settings) if option not in usual]


def _require_keys(path: Path) -> None:
    from .http.api_keys import read_keys  # here: the start does not wait for what most do not need

    read_keys(path)


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"


def _arguments(settings: Settings) -> list[str]:
    return [
        f"--variant-dir={settings.folder.absolute()}",
        f"--host={settings.host}",
        f"--port={settings.port}",
        f"--streams={settings.streams}",
        f"--threads={settings.threads}",
        f"--max-batch={settings.max_batch}",
        f"--queue-limit={settings.queue_limit}",
        f"--deadline={settings.deadline}",
        f"--body-limit={settings.body_limit}",
        f"--batch-limit={settings.batch_limit}",
        f"--head-deadline={settings.head_deadline}",
        f"--connections={settings.connections}",
        f"--cache={settings.cache}",
        "--spin" if settings.spin else "--no-spin",
        "--access-log" if settings.access_log else "--no-access-log",
        *([f"--api-key-file={key_file.absolute()}"] if (key_file := settings.api_key_file) else []),
    ]
