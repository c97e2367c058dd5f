"""Middleware of Ray's own proxy before the replicas: asks again if a replica died.

HAProxy, if it is there (haproxy.py), asks Ray's proxy only while no replica is left.

A request changes nothing, so it is safe to ask again.  An answer is passed on only when it is
complete; this costs no time, because no route streams its answer.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .http.problems import NOT_READY, RETRY, ProblemError
from .http.request_ids import HEADER, name_of
from .settings import BODY_LIMIT, DEADLINE, Settings

SERVED_BY = "X-Served-By"
TRIES = 3  # a request that makes replicas die must not end all of them
PAUSE = 0.1  # seconds before the second attempt; twice as long before the third
SPARE = 1.0  # seconds beyond the deadline, so that a replica's own 504 comes first
NO_REPLICA = 404  # the router's status while there is no replica
TOO_LATE = 408

log = logging.getLogger("ray.serve.tiankong")


class ServedBy:
    """ASGI middleware in a replica: adds its name to its answers."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[SERVED_BY] = self._name
            await send(message)

        await self._app(scope, receive, marked)


class _Body:
    """A request's messages, stored so that every attempt can read them from the start.

    Once more than ``limit`` bytes have arrived, it reads no further.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._messages: list[Message] = []
        self._room = limit
        self.gone = False

    def replay(self) -> Receive:
        """Return a ``receive`` that begins with the first message."""
        position = 0

        async def receive() -> Message:
            nonlocal position
            if position == len(self._messages):
                self._messages.append(await self._next())
            position += 1
            return self._messages[position - 1]

        return receive

    async def _next(self) -> Message:
        if self._room < 0:
            await asyncio.Event().wait()  # the replica refuses the body for its size
        message = await self._receive()
        self._room -= len(message.get("body", b""))
        self.gone = message["type"] == "http.disconnect"
        return message


class Retries:
    """ASGI middleware before a router of replicas (Ray Serve's proxy).

    It asks up to three times if a replica died, and turns the router's own errors into problems.
    """

    def __init__(self, app: ASGIApp, deadline: float, body_limit: int) -> None:
        self._app = app
        self._deadline = deadline
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = name_of(scope)
        body = _Body(receive, self._body_limit)
        until = asyncio.get_running_loop().time() + self._deadline + SPARE
        messages = await self._ask(_with_id(scope, name), body, until)
        if body.gone:
            return
        if not messages:
            late = asyncio.get_running_loop().time() >= until
            problem = _problem(TOO_LATE if late else None, name)
            await problem(scope, receive, send)
            return
        if not _from_replica(messages) and messages[0]["status"] >= 400:
            await _problem(messages[0]["status"], name)(scope, receive, send)
            return
        MutableHeaders(scope=messages[0])[HEADER] = name  # the router adds a second one
        for message in messages:
            await send(message)

    async def _ask(self, scope: Scope, body: _Body, until: float) -> list[Message]:
        """Return the messages of a complete answer; an empty list if there was none."""
        for attempt in range(1, TRIES + 1):
            messages = await self._attempt(scope, body, until)
            ended = body.gone or asyncio.get_running_loop().time() >= until
            if ended or (messages and not _calls_for_retry(messages)):
                return messages
            if attempt < TRIES:
                log.warning("request %s: no answer from its replica, asking another", _id(scope))
                await asyncio.sleep(PAUSE * attempt)
        return []

    async def _attempt(self, scope: Scope, body: _Body, until: float) -> list[Message]:
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        copy = {**scope, "headers": list(scope["headers"])}  # the router adds to them
        try:
            async with asyncio.timeout_at(until):
                await self._app(copy, body.replay(), collect)
        except TimeoutError:
            return []
        return messages if messages and not messages[-1].get("more_body", False) else []


def middlewares() -> list[Middleware]:
    """Return the middleware for Ray's proxies, with the limits in the environment variables.

    Behind HAProxy replicas call this too: they get none, because HAProxy does the same for them.
    """
    if _is_replica():
        return []
    deadline, body_limit = limits()
    return [Middleware(Retries, deadline=deadline, body_limit=body_limit)]


def limits() -> tuple[float, int]:
    """Return the deadline in seconds and the largest body in bytes, as the environment says."""
    deadline = float(os.environ.get(DEADLINE, Settings.deadline))
    return deadline, int(os.environ.get(BODY_LIMIT, Settings.body_limit))


def _is_replica() -> bool:
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        serve.get_replica_context()
    except RayServeException:
        return False
    return True


def _with_id(scope: Scope, name: str) -> Scope:
    scope = {**scope, "headers": list(scope["headers"])}
    MutableHeaders(scope=scope)[HEADER] = name
    return scope


def _id(scope: Scope) -> str:
    return MutableHeaders(scope=scope)[HEADER]


def _from_replica(messages: Sequence[Message]) -> bool:
    """Tell whether the answer comes from a replica, not from the router."""
    return SERVED_BY in MutableHeaders(scope=messages[0])


def _calls_for_retry(messages: Sequence[Message]) -> bool:
    """Tell whether the router failed; it reports a replica that died in the same way (5xx)."""
    return not _from_replica(messages) and messages[0]["status"] >= 500


def _problem(status: int | None, name: str) -> ASGIApp:
    if status == TOO_LATE:
        return ProblemError(504, "the deadline passed before the answer was there").response(name)
    if status == NO_REPLICA:
        detail = "the server is starting or draining"
        return ProblemError(503, detail, RETRY, NOT_READY).response(name)
    return ProblemError(503, "no replica could answer", RETRY, "no_replica").response(name)
