"""Start a stack: as a subprocess (its command line and environment), or in this process."""

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
from typing import TYPE_CHECKING

from ..toolkit.building.manifest import read_manifest
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import remove_scratch
from .batching.cores import open_served
from .ending import ended_at_once
from .settings import BODY_LIMIT, DEADLINE, Part, Settings, Stack

if TYPE_CHECKING:
    from ..toolkit.engines.predictor import Predictor

CLAIMS: dict[str, socket.socket] = {}
"""The addresses that this process has claimed, held as long as it lives."""
VARIANT_DIR = "TIANKONG_VARIANT_DIR"
STANDARD_ERROR = 2
ARTICLE_TIMEOUT = 120  # seconds; includes loading the model
TAKES: Mapping[Stack, Sequence[Part]] = {
    "reference": ("place", "speed", "requests", "connections", "beside"),
    "article": ("place",),
    "ray": ("place", "speed", "requests", "replicas"),  # the connections are its proxy's
}
RAY_ENVIRONMENT = {
    "RAY_COLOR_PREFIX": "0",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",  # so that a dead proxy is replaced soon
    "RAY_local_fs_capacity_threshold": "1.0",  # no warning of a full disk: nothing is stored there
    # Ray's own ports accept commands: they listen on this machine only, and require a token too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's only way to listen on 127.0.0.1
    "RAY_AUTH_MODE": "token",
    # For Ray's own proxy, which HAProxy (haproxy.py) asks while there is no replica.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "tiankong.server.retries.middlewares",
}


def command(stack: Stack, settings: Settings) -> list[str]:
    """Return the argv that serves ``settings.folder`` with a stack (see :func:`environment`).

    The article's stack uses folder, host and port only: everything else is as in the article.
    """
    match stack:
        case "reference":
            return [sys.executable, "-m", "tiankong.server", *settings.arguments()]
        case "ray":
            return command("reference", replace(settings, replicas=settings.replicas or 1))
        case "article":
            return [sys.executable, "-m", "gunicorn", *_gunicorn_arguments(settings.address)]


def _gunicorn_arguments(place: str) -> list[str]:
    """Return the article's settings of Gunicorn, with the address or descriptor to listen on."""
    return [
        *("--workers=2", "--threads=4"),
        *("--worker-class=gthread", f"--timeout={ARTICLE_TIMEOUT}"),
        # The control socket is one file per user, so two servers would conflict.
        *("--no-control-socket", f"--bind={place}"),
        "tiankong.server.article:create_app()",
    ]


def environment(stack: Stack, settings: Settings) -> dict[str, str]:
    """Return the environment variables that a stack needs besides the caller's."""
    match stack:
        case "reference":
            return {}
        case "article":
            return {VARIANT_DIR: str(settings.folder.absolute())}
        case "ray":
            from secrets import token_hex

            limits = {DEADLINE: str(settings.deadline), BODY_LIMIT: str(settings.body_limit)}
            return RAY_ENVIRONMENT | {"RAY_AUTH_TOKEN": token_hex(32)} | limits


def require_takes(stack: Stack, settings: Settings) -> None:
    """Raise UnusableInputError if a setting was changed that a stack does not take.

    Raises ModuleNotFoundError if the stack is ``ray`` and Ray is not installed.
    """
    takes = TAKES[stack]
    if settings.beside and "beside" not in takes:
        raise UnusableInputError(
            f"--beside: only the reference server has a second variant, not --stack {stack}"
        )
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

    Raises UnusableInputError if the port is in use, or if this stack cannot serve the variant.
    """
    runners: dict[Stack, Callable[[Settings], None]] = {
        "reference": run_reference,
        "article": run_article,
        "ray": run_ray,
    }
    runners[stack](settings)


def run_ray(settings: Settings) -> None:
    """Serve with Ray Serve on this machine until SIGTERM or SIGINT.

    Raises UnusableInputError if the port is in use, the file of API keys cannot be used, or the
    variant is missing or damaged.
    """
    if settings.api_key_file:
        _require_keys(settings.api_key_file)
    with bind(settings) as listener:  # Ray has no clear error for a port in use
        port = listener.getsockname()[1]
    from ..toolkit.building.availability import require

    manifest = read_manifest(settings.folder)
    require(manifest.recipe)
    manifest.verify(settings.folder)
    os.environ.update(environment("ray", settings))  # before the import: Ray reads it only then
    from .ray_serve import serve

    serve(replace(settings, port=port, replicas=settings.replicas or 1))


def run_reference(
    settings: Settings, open_predictor: Callable[[Settings], Predictor] | None = None
) -> None:
    """Serve in this process until SIGTERM or SIGINT.

    ``open_predictor`` opens the variant (None: :func:`open_served`).  Raises UnusableInputError if
    the port is in use, the file of API keys cannot be used, or the variant is missing or damaged.
    """
    with ended_at_once(_tidy):  # until Uvicorn handles the signals
        # First, so that a bad file of keys or a port in use is reported before the model loads.
        if settings.api_key_file:
            _require_keys(settings.api_key_file)
        gc.disable()  # until the start is complete: most objects created by then live for ever
        with bind(settings) as listener:
            folders = [settings.folder, *([settings.beside] if settings.beside else [])]
            manifests = [read_manifest(folder) for folder in folders]
            if len({manifest.variant for manifest in manifests}) < len(manifests):
                raise UnusableInputError(
                    f"--beside names {manifests[0].variant}, which is served already: name another"
                )
            kind = manifests[0].recipe.kind
            if not any(manifest.recipe.kind.uses_openblas for manifest in manifests):
                # NumPy's OpenBLAS threads are not used here, but would spin at the start.
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            with ThreadPoolExecutor(1) as opener:
                opening, *others = [
                    opener.submit(open_predictor or open_served, replace(settings, folder=folder))
                    for folder in folders
                ]
                from ..toolkit.engines.kinds import import_engine

                # First the engine, which the opening thread waits for.  Then the server's modules:
                # importing them takes about as long as opening the model, so both overlap.
                import_engine(kind)
                from .reference import serve

                predictor = opening.result()
                beside = [other.result() for other in others]
            serve(predictor, settings, listener, *beside)


def _tidy() -> None:
    """Remove what a thread may be writing now: the prepared weights (prepared.py)."""
    # Errors of that thread from now on are a consequence, so they are not shown.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_ERROR)
    remove_scratch()


def run_article(settings: Settings) -> None:
    """Serve with Gunicorn, in this process, until SIGTERM or SIGINT.

    Raises UnusableInputError if the port is taken, the variant is damaged or not an ONNX one, or
    Gunicorn gives up.
    """
    require_article(settings)
    read_manifest(settings.folder).verify(settings.folder)
    with bind(settings) as listener:
        listener.listen()  # so that nobody else can
        descriptor = listener.detach()  # which Gunicorn closes
        os.environ.update(environment("article", settings))
        from gunicorn.app.wsgiapp import WSGIApplication
        from gunicorn.errors import HaltServer

        sys.argv = ["gunicorn", *_gunicorn_arguments(f"fd://{descriptor}")]
        master = os.getpid()
        try:
            WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]", prog="gunicorn").run()
        except HaltServer as gave_up:  # a second worker failed while Gunicorn gave up on the first
            raise UnusableInputError(_gave_up(gave_up.exit_status)) from None
        except SystemExit as leaving:
            if os.getpid() != master:  # a worker, whose code the master reads
                raise
            if leaving.code:  # Gunicorn's own codes mean something else here
                raise UnusableInputError(_gave_up(leaving.code)) from None


def _gave_up(code: object) -> str:
    return f"Gunicorn gave up with code {code}: its lines above say why"


def require_article(settings: Settings) -> None:
    """Raise UnusableInputError unless the article's stack can serve the folder."""
    manifest = read_manifest(settings.folder)
    if not manifest.recipe.kind.runs_article:
        raise UnusableInputError(
            f"the article's stack runs ONNX variants, {manifest.variant} is a"
            f" {manifest.recipe.engine} one: choose another with --variant"
        )


def bind(settings: Settings) -> socket.socket:
    """Return a TCP socket bound to host and port; raise UnusableInputError if that fails."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        _claim(listener)
    except OSError as error:
        listener.close()
        raise UnusableInputError(
            f"cannot listen on {settings.address}: {error.strerror}; choose another --port"
        ) from None
    return listener


def _claim(listener: socket.socket) -> None:
    """Claim an address for this process until it ends; raise OSError if another one has it.

    Two sockets can be bound to one address until one of them listens, so that of two servers
    started at once the second would load its model first.  A name of the kernel's (Linux, abstract)
    goes with its process.
    """
    name = f"\0tiankong {listener.getsockname()[:2]}"
    if name in CLAIMS or sys.platform != "linux":
        return
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(name)
    except OSError:
        claim.close()
        raise
    CLAIMS[name] = claim


def _require_keys(path: Path) -> None:
    from .http.api_keys import read_keys  # here, because most servers start without it

    read_keys(path)
