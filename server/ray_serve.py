"""Ray Serve: the reference server's app in several replicas, on this machine or in a cluster.

tiankong serve --stack ray --replicas 2            # here
serve run tiankong.server.ray_serve:app folder=/models/onnx-int8 replicas=8   # in a cluster
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import psutil
import ray
from prometheus_client.metrics_core import Metric
from ray import serve as ray_serve
from ray.serve.schema import LoggingConfig
from starlette.applications import Starlette

from ..toolkit.console import say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import ARTIFACTS, artifacts, give_memory_back
from ..toolkit.machine import usable_cores
from .batching.cores import cores_each, open_served
from .batching.service import Service
from .http.metrics import Collected
from .reference import GRACE, KEEP_ALIVE
from .retries import ServedBy
from .routes.app import create_app
from .settings import TABLE, Settings

NAME = "tiankong"
GATHER_SECONDS = 2.0
UPSCALE_SECONDS = 5.0
HEALTH_SECONDS = 1.0  # between two looks at a replica: a dead one is replaced so soon
LOOK_SECONDS = 0.2  # between two looks whether the last request of a replica has been answered
GONE_SECONDS = 5.0
OBJECT_STORE_BYTES = 80_000_000  # near Ray's least: requests go by message
# Of a failed deployment Ray gives the text of a traceback.
OWN_ERROR = re.compile(r"tiankong\.toolkit\.errors\.\w+: (.+)")


class Replica:
    """One process with the whole reference server behind Ray's router.

    It is healthy once its warm-up gave the expected answer.  ``cores`` are its share of the
    machine's, ``log_to`` names a pipe for the access log (empty: standard output, which Ray keeps).
    """

    def __init__(self, settings: Settings, cores: int, log_to: str = "") -> None:
        context = ray_serve.get_replica_context()
        self._name = context.replica_id.unique_id
        self._place = (context.deployment, context.app_name)
        remarks: list[str] = []
        predictor = open_served(settings, cores, remarks.append)
        self._remark = " ".join(remarks)
        if self._remark and not log_to:  # nobody will ask for it
            say(self._remark)
        settings = shared_out(settings, cores, shared=bool(predictor.engine.about.widths))
        pipe = os.open(log_to, os.O_WRONLY) if log_to else None
        self._built = create_app(predictor, settings, pipe, self._everyone)
        self._built.add_middleware(ServedBy, name=self._name)
        self._service: Service = self._built.state.service
        self._settled = False

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return the app; its lifespan warms the service up."""
        return self._built

    async def check_health(self) -> None:
        """Raise UnusableInputError unless the warm-up went well."""
        if self._service.not_ready:
            raise UnusableInputError(
                f"{self._service.variant} cannot be served: {self._service.not_ready}:"
                f" {self._service.failure}"
            )
        if not self._settled:  # the first time: no request has come yet
            self._settled = True
            give_memory_back()  # what loading needed for a while

    async def told(self) -> tuple[str, dict[str, int | float | bool]]:
        """Return what has to be said of the start (mostly nothing) and the settings in force."""
        return self._remark, self._service.in_force()

    async def counted(self) -> tuple[str, list[Metric]]:
        """Return this replica's name and what it has counted."""
        return self._name, list(self._service.metrics.registry.collect())

    async def _everyone(self) -> Collected:
        parts = dict([await self.counted()])
        with suppress(Exception):  # a scrape that lacks the others is better than none
            asked = ray_serve.get_deployment_handle(*self._place).broadcast("counted")
            found = await asked.results_async(timeout_s=GATHER_SECONDS, return_exceptions=True)
            parts |= dict(entry for entry in found if not isinstance(entry, BaseException))
        return Collected(parts)


def application(settings: Settings, cores: int, log_to: str = "") -> ray_serve.Application:
    """Return the Ray Serve application that serves with these settings, so many cores a replica."""
    options: dict[str, Any] = {"num_replicas": max(1, settings.replicas)}
    if settings.max_replicas > settings.replicas:
        options = {
            "autoscaling_config": {
                "min_replicas": max(1, settings.replicas),
                "max_replicas": settings.max_replicas,
                # More than one batch: the next ones wait.
                "target_ongoing_requests": max(2, settings.max_batch),
                "upscale_delay_s": UPSCALE_SECONDS,
            }
        }
    deployment = ray_serve.deployment(
        ray_serve.ingress()(Replica),
        name="Replica",
        ray_actor_options={"num_cpus": reserved(settings, cores)},
        # The queue that refuses is the replica's own.
        max_ongoing_requests=2 * (settings.queue_limit + (settings.streams or cores)),
        health_check_period_s=HEALTH_SECONDS,
        graceful_shutdown_wait_loop_s=LOOK_SECONDS,
        graceful_shutdown_timeout_s=settings.deadline + GRACE,
        max_constructor_retry_count=1,
        logging_config=_logging(),
        **options,
    )
    return deployment.bind(settings, cores, log_to)


def reserved(settings: Settings, cores: int) -> int:
    """Return the CPUs that a replica reserves: its share of the cores, or the threads it was told.

    Ray counts them; it does not look at who has which core.
    """
    return max(cores, settings.threads)


def shared_out(settings: Settings, cores: int, *, shared: bool) -> Settings:
    """Return the settings of one replica: its cores are all in use, unless they say otherwise.

    ``shared`` tells whether batches share the cores; else each has its threads.  Replicas that
    measured how many streams are best would measure each other.
    """
    threads = settings.threads or cores
    streams = cores if shared else max(1, cores // threads)
    return replace(settings, threads=threads, streams=settings.streams or streams)


def app(arguments: Mapping[str, Any]) -> ray_serve.Application:
    """Return the application for ``serve run`` and its configuration files.

    ``arguments`` are fields of :class:`.Settings`, and ``cores``: how many a replica has (as many
    as ``threads``, else one: of the nodes nothing is known here).  ``folder`` has to be one on
    every node.  Raises UnusableInputError for others.
    """
    kinds = {"cores": int} | {row.name: row.kind for row in TABLE}
    if unknown := sorted(set(arguments) - set(kinds)):
        raise UnusableInputError(
            f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(kinds))}"
        )
    if "folder" not in arguments:
        raise UnusableInputError("folder=DIR is missing: a variant's folder")
    values = {name: _value(name, kinds[name], value) for name, value in arguments.items()}
    cores = values.pop("cores", 0) or values.get("threads", 0) or 1
    if cores < 1:
        raise UnusableInputError(f"cores must be at least 1, not {cores}")
    return application(Settings(**{"replicas": 1} | values), cores)


def _value(name: str, kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    if isinstance(value, str) and kind is not str:
        try:
            return json.loads(value.lower())
        except ValueError:
            raise UnusableInputError(f"{name}={value}: no number, true or false") from None
    return value


def serve(settings: Settings) -> None:
    """Serve on this machine until SIGTERM or SIGINT; accepted requests are finished first.

    Raises UnusableInputError if it cannot be served.
    """
    keys = settings.api_key_file.absolute() if settings.api_key_file else None
    settings = replace(settings, folder=settings.folder.absolute(), api_key_file=keys)
    os.environ[ARTIFACTS] = str(artifacts().absolute())  # the replicas keep packed weights there
    cores = cores_each(settings.most_replicas)
    stopped = Event()
    folder = Path(tempfile.mkdtemp(prefix="tk-", dir="/tmp"))  # paths of its sockets are long
    try:
        # Ray prints what its processes say; standard output is the access log's.
        with _logged(folder / "log"), redirect_stdout(sys.stderr), _ray(settings, cores, folder):
            # Now: Ray's own handler, since it was begun, ends the process without tidying up.
            _stop_at_signals(stopped)
            _deploy(settings, cores, str(folder / "log"))
            stopped.wait()
            ray_serve.delete(NAME)
            with _muted():
                ray_serve.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ray(settings: Settings, cores: int, folder: Path) -> Iterator[None]:
    """Run Ray on this machine, for nobody else; nothing of it is left in the end."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        ray.init(
            address="local",  # not the cluster that RAY_ADDRESS may name
            num_cpus=max(usable_cores(), reserved(settings, cores) * settings.most_replicas),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder / "ray"),
        )
        yield
    finally:
        children = psutil.Process().children(recursive=True)
        with _muted():
            ray.shutdown()
        _, left = psutil.wait_procs(children, GONE_SECONDS)
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _deploy(settings: Settings, cores: int, log_to: str) -> None:
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={
            "host": settings.host,
            "port": settings.port,
            "keep_alive_timeout_s": KEEP_ALIVE,
        },
        logging_config=_logging(),
    )
    try:
        with _muted():
            built = application(settings, cores, log_to)
            handle = ray_serve.run(built, name=NAME, route_prefix="/")
    except RuntimeError as error:
        raise UnusableInputError(_reason(error)) from None
    remark, in_force = handle.told.remote().result()
    if remark:
        say(remark)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"serving {settings.folder.name} on http://{host}:{settings.port}", file=sys.stderr)
    print(f"settings {json.dumps(in_force)}", file=sys.stderr, flush=True)


def _reason(error: RuntimeError) -> str:
    """Return why the replicas did not start: what they raised, else what Ray says."""
    deployments = ray_serve.status().applications[NAME].deployments.values()
    found = [line for one in deployments for line in OWN_ERROR.findall(one.message)]
    return found[-1] if found else f"Ray Serve failed: {error}"


@contextmanager
def _muted() -> Iterator[None]:
    """Drop what Ray prints: a failed start is told in one line, a planned end is no loss.

    It prints what its processes say from a thread of its own, so all of this process is muted.
    """
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _logging() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)


@contextmanager
def _logged(pipe: Path) -> Iterator[None]:
    """Copy to standard output what is written to a named pipe: the replicas' access logs."""
    os.mkfifo(pipe, 0o600)
    # For writing as well, so that reading does not end when the last replica does.
    descriptor = os.open(pipe, os.O_RDWR)
    copier = Thread(target=_copy, args=(descriptor, sys.stdout.fileno()), daemon=True)
    copier.start()
    try:
        yield
    finally:
        os.write(descriptor, END)
        copier.join(GONE_SECONDS)
        os.close(descriptor)


END = b"\0"  # stands in no line of JSON


def _copy(source: int, target: int) -> None:
    while True:
        data = os.read(source, 1 << 16)
        text, end, _ = data.partition(END)
        with suppress(OSError):  # nobody reads any more; the replicas must not notice
            while text:
                text = text[os.write(target, text) :]
        if end:
            return


def _stop_at_signals(stopped: Event) -> None:
    def handler(signum: int, frame: FrameType | None) -> None:
        stopped.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, handler)
