"""The reference stack's process: one uvicorn worker, drained on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import signal
import socket
import sys
from functools import partial
from types import FrameType
from typing import cast

import uvicorn

from ..toolkit.engines.predictor import Predictor
from ..toolkit.errors import UnusableInputError
from ..toolkit.files import give_memory_back
from .batching.service import Service
from .http.connection import EVERY, Connection, ConnectionTerms, room_for, watch
from .routes.app import create_app
from .settings import Settings

KEEP_ALIVE = 75  # seconds; longer than the 60 of common load balancers, so that they close first
SETTLE_SECONDS = 0.5  # after the start, so that the first requests do not wait for it
GRACE = 5  # seconds beyond the deadline, for sending the last answers


class _Server(uvicorn.Server):
    """Uvicorn, but it drains at the first signal and exits with 0 (Uvicorn would re-raise it)."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._every = min(EVERY, service.settings.head_deadline / 2)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._service.not_ready:
            self.should_exit = True
            return
        for listener in sockets or []:
            print(f"serving {self._service.variant} on {_url(listener)}", file=sys.stderr)
        print(f"settings {json.dumps(self._service.in_force())}", file=sys.stderr)
        watch(self.server_state.connections, self._every)
        asyncio.get_running_loop().call_later(SETTLE_SECONDS, _settle)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.drain()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(predictor: Predictor, settings: Settings, listener: socket.socket) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT; accepted requests are finished first.

    Raises UnusableInputError if the warm-up fails or the socket cannot listen.
    """
    app = create_app(predictor, settings)
    service: Service = app.state.service
    terms = ConnectionTerms(
        head_deadline=settings.head_deadline,
        deadline=settings.deadline,
        body_limit=settings.body_limit,
        most=room_for(settings.connections),
        metrics=service.metrics,
        log=app.state.access_log,
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
    try:
        _Server(config, service).run(sockets=[listener])
    except OSError as error:
        raise UnusableInputError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
        ) from None
    if service.failure:
        raise UnusableInputError(
            f"{predictor.name} cannot be served: the warm-up failed: {service.failure}"
        )


def _settle() -> None:
    """Return the memory that only loading needed; exclude what remains from garbage collection."""
    give_memory_back()
    gc.freeze()
    gc.enable()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
