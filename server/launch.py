"""Start a stack: the command line and environment of a subprocess, or right here."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..toolkit.building.manifest import read_manifest
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import remove_scratch
from .batching.cores import open_served
from .ending import ended_at_once
from .settings import BODY_LIMIT, DEADLINE, Part, Settings, Stack

if TYPE_CHECKING:
    from ..toolkit.engines.predictor import Predictor

VARIANT_DIR = "TIANKONG_VARIANT_DIR"
STANDARD_ERROR = 2
ARTICLE_TIMEOUT = 120  # seconds; the model loads inside it
TAKES: Mapping[Stack, Sequence[Part]] = {
    "reference": ("place", "speed", "requests", "connections"),
    "article": ("place",),
    "ray": ("place", "speed", "requests", "replicas"),  # the connections are its proxy's
}
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
            return [sys.executable, "-m", "tiankong.server", *settings.arguments()]
        case "ray":
            return command("reference", replace(settings, replicas=settings.replicas or 1))
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
    takes = TAKES[stack]
    if wrong := sorted(row.option for row in settings.changed() if row.part not in takes):
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
    with ended_at_once(_tidy):  # until Uvicorn hears the signals
        # A bad file of keys or a taken port should not cost the wait for the model.
        if settings.api_key_file:
            _require_keys(settings.api_key_file)
        gc.disable()  # until the server has settled: what is there by then stays
        with bind(settings) as listener:
            kind = read_manifest(settings.folder).recipe.kind
            if not kind.uses_openblas:
                # NumPy's threads, which nothing here uses, would begin by running in circles.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            with ThreadPoolExecutor(1) as beside:
                opening = beside.submit(open_predictor or open_served, settings)
                from ..toolkit.engines.kinds import import_engine

                # First what the model waits for, then what takes as long to import as it to open.
                import_engine(kind)
                from .reference import serve

                predictor = opening.result()
            serve(predictor, settings, listener)


def _tidy() -> None:
    """Remove what a thread may be writing just now: the model's prepared form (prepared.py)."""
    # What fails in the thread from here on is no news.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_ERROR)
    remove_scratch()


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
    if not manifest.recipe.kind.runs_article:
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


def _require_keys(path: Path) -> None:
    from .http.api_keys import read_keys  # here: the start does not wait for what most do not need

    read_keys(path)


def _address(settings: Settings) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{host}:{settings.port}"
