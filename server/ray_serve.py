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
import time
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
from ray._private import services
from ray.serve.schema import LoggingConfig
from starlette.applications import Starlette

from ..toolkit.console import say
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import ARTIFACTS, artifacts_path, give_memory_back
from ..toolkit.machine import usable_cores
from ..toolkit.processes import free_port
from . import haproxy
from .batching.cores import cores_each, open_served
from .batching.service import Service
from .haproxy import HERE
from .http.metrics import Collected
from .reference import GRACE, KEEP_ALIVE
from .retries import ServedBy
from .routes.app import create_app
from .settings import TABLE, Settings

NAME = "tiankong"
GATHER_SECONDS = 2.0
UPSCALE_SECONDS = 5.0
HEALTH_SECONDS = 1.0  # between two health checks of a replica: a dead one is replaced soon
LOOK_SECONDS = 0.2  # between two checks whether a stopping replica has answered its last request
LINGER_SECONDS = 0.5  # after the last replica, for the answer that the server drains
GONE_SECONDS = 5.0
OBJECT_STORE_BYTES = 80_000_000  # near Ray's minimum: requests do not use the object store
USAGE_STATS = "RAY_USAGE_STATS_ENABLED"
# For a failed deployment Ray gives the text of a traceback; this finds our own error in it.
OWN_ERROR = re.compile(r"tiankong\.toolkit\.errors\.\w+: (.+)")


class Replica:
    """One process that runs the complete reference server behind Ray's router.

    It is healthy after its warm-up gave the expected answer.  ``cores`` is its share of the
    machine's cores; ``log_to`` is a named pipe for the access log (empty: standard output, which
    Ray writes to its own log).
    """

    def __init__(self, settings: Settings, cores: int, log_to: str = "") -> None:
        context = ray_serve.get_replica_context()
        self._name = context.replica_id.unique_id
        self._place = (context.deployment, context.app_name)
        remarks: list[str] = []
        predictor = open_served(settings, cores, remarks.append)
        self._remark = " ".join(remarks)
        if self._remark and not log_to:  # in a cluster nobody calls ``told``
            say(self._remark)
        settings = shared_out(settings, cores, shared=bool(predictor.engine.about.widths))
        pipe = os.open(log_to, os.O_WRONLY) if log_to else None
        self._app = create_app(predictor, settings, pipe, self._everyone)
        self._app.add_middleware(ServedBy, name=self._name)
        self._service: Service = self._app.state.service
        self._settled = False

    def __serve_build_asgi_app__(self) -> Starlette:
        """Return the app; its lifespan runs the warm-up."""
        return self._app

    async def check_health(self) -> None:
        """Raise UnusableInputError unless the warm-up succeeded."""
        if self._service.not_ready:
            raise UnusableInputError(
                f"{self._service.variant} cannot be served: {self._service.not_ready}:"
                f" {self._service.failure}"
            )
        if not self._settled:  # the first check, before any request
            self._settled = True
            give_memory_back()  # memory that only loading needed

    async def told(self) -> tuple[str, dict[str, int | float | bool]]:
        """Return a remark about the start to print (usually empty) and the settings in use."""
        return self._remark, self._service.in_force()

    async def counted(self) -> tuple[str, list[Metric]]:
        """Return this replica's name and its metrics."""
        return self._name, list(self._service.metrics.registry.collect())

    async def _everyone(self) -> Collected:
        parts = dict([await self.counted()])
        with suppress(Exception):  # a scrape without the other replicas is better than none
            calls = ray_serve.get_deployment_handle(*self._place).broadcast("counted")
            replies = await calls.results_async(timeout_s=GATHER_SECONDS, return_exceptions=True)
            parts |= dict(entry for entry in replies if not isinstance(entry, BaseException))
        return Collected(parts)


def application(settings: Settings, cores: int, log_to: str = "") -> ray_serve.Application:
    """Return the Ray Serve application for these settings; ``cores`` is the number per replica."""
    options: dict[str, Any] = {"num_replicas": max(1, settings.replicas)}
    if settings.max_replicas > settings.replicas:
        options = {
            "autoscaling_config": {
                "min_replicas": max(1, settings.replicas),
                "max_replicas": settings.max_replicas,
                # More than one batch in a replica means that sentences wait: start another replica.
                "target_ongoing_requests": max(2, settings.max_batch),
                "upscale_delay_s": UPSCALE_SECONDS,
            }
        }
    deployment = ray_serve.deployment(
        ray_serve.ingress()(Replica),
        name="Replica",
        ray_actor_options={"num_cpus": reserved(settings, cores)},
        # Above the replica's own limits, so that its queue, not Ray's router, refuses requests.
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
    """Return how many CPUs a replica reserves: its share of the cores, or its threads if more.

    Ray only counts CPUs; it does not pin replicas to cores.
    """
    return max(cores, settings.threads)


def shared_out(settings: Settings, cores: int, *, shared: bool) -> Settings:
    """Return the settings of one replica: it uses all its cores unless threads or streams are set.

    ``shared`` tells whether batches share the cores; else each batch has its own threads.  The
    number of streams is not measured at the start: replicas that measure at once disturb each
    other.
    """
    threads = settings.threads or cores
    streams = cores if shared else max(1, cores // threads)
    return replace(settings, threads=threads, streams=settings.streams or streams)


def app(arguments: Mapping[str, Any]) -> ray_serve.Application:
    """Return the application for ``serve run`` and its configuration files.

    ``arguments`` are fields of :class:`.Settings`, and ``cores``: the number for each replica (by
    default ``threads``, else 1, because the nodes are not known here).  ``folder`` has to exist on
    every node.  Raises UnusableInputError for other arguments.
    """
    kinds = {"cores": int} | {row.name: row.kind for row in TABLE if row.part != "beside"}
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
    """Serve on this machine until SIGTERM or SIGINT; accepted requests are answered first.

    Raises UnusableInputError if the replicas do not start.
    """
    keys = settings.api_key_file.absolute() if settings.api_key_file else None
    settings = replace(settings, folder=settings.folder.absolute(), api_key_file=keys)
    os.environ[ARTIFACTS] = str(artifacts_path().absolute())  # replicas store packed weights there
    cores = cores_each(settings.most_replicas)
    stopped = Event()
    folder = Path(tempfile.mkdtemp(prefix="tk-", dir="/tmp"))  # short: paths of sockets are limited
    try:
        os.environ.update(_proxied(settings, folder))  # for Ray's processes
        # Ray prints the output of its processes; standard output is for the access log alone.
        with _logged(folder / "log"), redirect_stdout(sys.stderr), _ray(settings, cores, folder):
            # After Ray's start, to replace its own handler, which exits without cleaning up.
            _stop_at_signals(stopped)
            _deploy(settings, cores, str(folder / "log"))
            stopped.wait()
            ray_serve.delete(NAME)
            time.sleep(LINGER_SECONDS)
            with _muted():
                ray_serve.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _proxied(settings: Settings, folder: Path) -> dict[str, str]:
    """Return Ray's variables for an HAProxy that listens for clients, on free ports of its own."""
    own = ("HAPROXY_METRICS_PORT", "HAPROXY_STATS_PORT", "FALLBACK_PROXY_HTTP_PORT")
    ports = {f"RAY_SERVE_{name}": str(free_port()) for name in own}
    limits = (settings.deadline, settings.body_limit)
    return ports | haproxy.variables(folder / "ha", *limits, settings.address, GRACE)


@contextmanager
def _ray(settings: Settings, cores: int, folder: Path) -> Iterator[None]:
    """Run Ray on this machine, for this process alone; at the end all its processes are gone."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if os.environ.get(USAGE_STATS) != "1":
        # Without a dashboard its process has one task, usage statistics, and even where they are
        # off it asks the clouds' metadata addresses where it runs.  Ray has no setting against
        # that.  This is what the function returns if that process cannot be started.
        services.start_api_server = lambda *_, **__: (None, None)
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
            "host": HERE,  # the replicas' address; HAProxy has the clients'
            "port": settings.port,
            "keep_alive_timeout_s": KEEP_ALIVE,
        },
        logging_config=_logging(),
    )
    try:
        with _muted():
            served = application(settings, cores, log_to)
            handle = ray_serve.run(served, name=NAME, route_prefix="/")
    except RuntimeError as error:
        raise UnusableInputError(_reason(error)) from None
    remark, in_force = handle.told.remote().result()
    if remark:
        say(remark)
    print(f"serving {settings.folder.name} on http://{settings.address}", file=sys.stderr)
    print(f"settings {json.dumps(in_force)}", file=sys.stderr, flush=True)


def _reason(error: RuntimeError) -> str:
    """Return why the replicas did not start: the error they raised, else Ray's message."""
    deployments = ray_serve.status().applications[NAME].deployments.values()
    errors = [line for entry in deployments for line in OWN_ERROR.findall(entry.message)]
    return errors[-1] if errors else f"Ray Serve failed: {error}"


@contextmanager
def _muted() -> Iterator[None]:
    """Hide what Ray prints: a failed start is reported in one line, a normal end not at all.

    Ray prints the output of its processes from a thread, so the whole process is muted.
    """
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _logging() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)


@contextmanager
def _logged(pipe: Path) -> Iterator[None]:
    """Copy a named pipe to standard output: the replicas write their access logs to it."""
    os.mkfifo(pipe, 0o600)
    # Open for writing too, so that reading does not end when the last replica closes the pipe.
    descriptor = os.open(pipe, os.O_RDWR)
    copier = Thread(target=_copy, args=(descriptor, sys.stdout.fileno()), daemon=True)
    copier.start()
    try:
        yield
    finally:
        os.write(descriptor, END)
        copier.join(GONE_SECONDS)
        os.close(descriptor)


END = b"\0"  # a byte that no line of JSON contains


def _copy(source: int, target: int) -> None:
    while True:
        data = os.read(source, 1 << 16)
        text, end, _ = data.partition(END)
        with suppress(OSError):  # standard output is closed: go on, or replicas would block
            while text:
                text = text[os.write(target, text) :]
        if end:
            return


def _stop_at_signals(stopped: Event) -> None:
    def handler(signum: int, frame: FrameType | None) -> None:
        stopped.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, handler)
