"""The reference stack's process: one uvicorn worker, drained on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from ..toolkit.engines.predictor import Predictor
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import give_memory_back
from .batching.service import Service
from .http.connection import EVERY, Connection, ConnectionTerms, room_for, watch
from .routes.app import create_app
from .settings import Settings

KEEP_ALIVE = 75  # seconds; longer than the 60 of common load balancers, so that they close first
LOOK_SECONDS = 0.02
KEPT_SECONDS = 1.0  # a kept connection that was idle for longer may be closed
TAKEN = "another program took the port meanwhile"
SETTLE_SECONDS = 0.5  # after the start, so that the first requests do not wait for it
GRACE = 5  # seconds beyond the deadline, for sending the last answers


class _Server(uvicorn.Server):
    """Uvicorn, but it leaves its clients without refusing them, and exits with 0.

    After SIGTERM it is not ready, but accepts and answers for ``drain_delay`` seconds more, so that
    load balancers can notice; each answer is the last of its connection.  Then it stops listening,
    and closes connections that are idle.  It skips the wait if it has not been used for as long,
    and after SIGINT.
    """

    def __init__(self, config: uvicorn.Config, services: Sequence[Service]) -> None:
        super().__init__(config)
        self._service, *self._beside = services
        self._every = min(EVERY, self._service.settings.head_deadline / 2)
        self._used = -math.inf  # when a client was last seen, likewise
        self._requests = 0
        self._is_urgent = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not all(map(_listens, sockets or [])):  # uvloop does not say so
            self._service.failure = self._service.failure or TAKEN
            self.should_exit = True
            return
        if any(service.not_ready for service in (self._service, *self._beside)):
            self.should_exit = True
            return
        for listener in sockets or []:
            print(f"serving {self._service.variant} on {_url(listener)}", file=sys.stderr)
        print(f"settings {json.dumps(self._service.in_force())}", file=sys.stderr)
        for service in self._beside:
            print(f"beside it {service.variant}: /v2/models/{service.variant}", file=sys.stderr)
        watch(self.server_state.connections, self._every)
        asyncio.get_running_loop().call_later(SETTLE_SECONDS, _settle)

    async def on_tick(self, counter: int) -> bool:
        state = self.server_state
        if state.connections or state.total_requests != self._requests:
            self._requests = state.total_requests
            self._used = asyncio.get_running_loop().time()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for service in (self._service, *self._beside):
            service.drain()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self._is_urgent = self.should_exit or sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if all(map(_listens, sockets or [])):
            await self._leave(sockets or [])
        await super().shutdown(sockets)

    async def _leave(self, listeners: Sequence[socket.socket]) -> None:
        """Answer what comes until the load balancers know, and let the clients go."""
        loop, delay = asyncio.get_running_loop(), self._service.settings.drain_delay
        for connection in self._connections():
            connection.leave()
        until = loop.time() + delay
        while loop.time() < until and loop.time() - self._used < delay and not self._is_urgent:
            await asyncio.sleep(LOOK_SECONDS)
        for listener in listeners:
            await self._stop_listening(listener)
        until = loop.time() + self._service.settings.deadline
        while self._are_expected() and loop.time() < until and not self.force_exit:
            await asyncio.sleep(LOOK_SECONDS)

    async def _stop_listening(self, listener: socket.socket) -> None:
        """Take the connections that wait to be accepted, then refuse new ones.

        The system resets what waits when a socket stops listening.
        """
        waiting = []
        with suppress(BlockingIOError):
            while True:
                waiting.append(listener.accept()[0])
        with suppress(OSError):  # it does not listen any more
            listener.shutdown(socket.SHUT_RDWR)
        for accepted in waiting:
            await asyncio.get_running_loop().connect_accepted_socket(self._connection, accepted)

    def _connection(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]

    def _are_expected(self) -> bool:
        """Tell whether a client is reading, or was there so lately that it may ask once more."""
        idle = [each.idle_seconds() for each in self._connections()]
        lately = any(seconds is not None and seconds < KEPT_SECONDS for seconds in idle)
        return lately or any(each.is_lingering() for each in self._connections())


def serve(
    predictor: Predictor,
    settings: Settings,
    listener: socket.socket,
    beside: Predictor | None = None,
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; accepted requests are finished first.

    ``beside`` is a second variant (see :func:`.create_app`).  Raises UnusableInputError if a
    warm-up fails or the socket cannot listen.
    """
    app = create_app(predictor, settings, beside=beside)
    service: Service = app.state.service
    terms = ConnectionTerms(
        head_deadline=settings.head_deadline,
        deadline=settings.deadline,
        body_limit=settings.body_limit,
        most=room_for(settings.connections),
        metrics=service.metrics,
        log=app.state.access_log,
        leaving=lambda: service.draining,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", partial(Connection, terms)),
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.deadline) + GRACE,
    )
    services: Sequence[Service] = list(app.state.services.values())
    _Server(config, services).run(sockets=[listener])
    if service.failure == TAKEN:
        raise UnusableInputError(
            f"cannot listen on {settings.host}:{settings.port}: {TAKEN}; choose another --port"
        )
    for each in services:
        if each.failure:
            raise UnusableInputError(
                f"{each.variant} cannot be served: the warm-up failed: {each.failure}"
            )


def _settle() -> None:
    """Return the memory that only loading needed; exclude what remains from garbage collection."""
    give_memory_back()
    gc.freeze()
    gc.enable()


def _listens(bound: socket.socket) -> bool:
    try:
        return bool(bound.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:  # it was closed
        return False


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
