"""A client's connection, with limits on the memory and the time that a client can take."""

from __future__ import annotations

import asyncio
import math
import resource
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, cast

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ...toolkit.files import KIBIBYTE
from .access_log import AccessLog
from .bodies import WHOLE, too_large
from .lingering import Lingering
from .metrics import Metrics
from .observer import Observer
from .problems import CLOSE, QUEUE_FULL, RETRY, ProblemError
from .request_ids import RequestIds
from .upgrades import parser_of_body

HEAD_LIMIT = 32 * KIBIBYTE
HEADERS_LIMIT = 100  # a header takes many times its size in memory
PIPELINE_LIMIT = 64  # pipelined requests that wait for the answer to the one before
CHUNKED = 8  # bytes allowed on the wire per byte of body: chunks of one byte take six
SPARE = 128  # file descriptors for everything that is not a connection
CROWDED = 3 / 4  # share of the allowed connections; above it idle ones are closed sooner
CROWDED_WAIT = 1.0  # seconds that those may stay
EVERY = 1.0  # seconds between two checks of all connections
UNKNOWN = "-"
NOTHING, HEAD, BODY = range(3)  # which part of a request is being read


@dataclass(frozen=True)
class ConnectionTerms:
    """The limits of each connection of a server, and where refused requests are recorded.

    Args:
        head_deadline: seconds for the head of a request to arrive, for the rest of a body that the
            app does not need, and between two pieces of what is thrown away after the last answer.
        deadline: seconds for a client to read some of the data that waits for it, and to close
            after the last answer.
        body_limit: the most bytes of a request's body.
        most: the most connections at the same time.
        metrics: counts refused requests.
        log: gets an entry for each refused request (None: there is no log).
        leaving: tells whether the server has been told to end: each answer is then its connection's
            last.

    """

    head_deadline: float
    deadline: float
    body_limit: int
    most: int
    metrics: Metrics
    log: AccessLog | None
    leaving: Callable[[], bool]

    @property
    def message_limit(self) -> int:
        """The most bytes on the wire after a head: the body, its chunk framing, trailers."""
        return HEAD_LIMIT + CHUNKED * self.body_limit

    def refusing(self, problem: ProblemError) -> Any:
        """Return an ASGI app that answers with a problem (``Any`` fits Uvicorn's types too)."""
        return Observer(RequestIds(Refusal(problem)), self.metrics, self.log)


class Refusal:
    """ASGI app: answers a request that the connection refuses with a problem."""

    def __init__(self, problem: ProblemError) -> None:
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        state = scope["state"]
        state["reason"] = self._problem.reason
        await self._problem.response(state["request_id"], CLOSE)(scope, receive, send)


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, with limits on how long it waits and how much it stores.

    A connection sets no timers of its own: :func:`watch` checks all connections regularly.
    """

    def __init__(
        self,
        terms: ConnectionTerms,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._terms = terms
        self._reading = NOTHING
        self._received = 0  # at least the bytes of the head or body that have arrived
        self._since = 0.0  # when the wait for the client began, on the loop's clock
        self._unsent_since = 0.0
        self._discards = False  # whether further input is thrown away
        self._current: RequestResponseCycle | None = None  # being answered; others may wait

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse the connection at once if there are too many."""
        super().connection_made(transport)
        self._lingering = Lingering(transport, self._close)
        self.transport = cast(asyncio.Transport, self._lingering)
        self._since = self.loop.time()
        if len(self.connections) > self._terms.most:
            detail = "the server has as many connections as it can have"
            self._refuse(ProblemError(503, detail, RETRY, "too_many_connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Notify the request being answered (Uvicorn notifies only the one that arrived last)."""
        super().connection_lost(exc)
        if self._current and not self._current.response_complete:
            self._current.disconnected = True
            self._current.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Parse the data (Uvicorn's method would log a warning for every bad request)."""
        if self._discards:
            self._since = self.loop.time()
            self._lingering.throw_away(len(data))
            return
        before = self.scope
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_on(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(_problem(error))
        else:
            if self._reading == NOTHING:
                self._received = 0
            else:
                self._check_size(begun=self.scope is not before)

    def _read_on(self, rest: bytes) -> None:
        """Read the rest of a request that wishes for another protocol as HTTP/1.1."""
        self._reading = BODY  # the parser has called it complete
        self.scope["state"][WHOLE] = False
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self.parser = parser_of_body(self)
        if rest:
            self.data_received(rest)

    def _check_size(self, begun: bool) -> None:
        """Refuse a head or body that is too large already.

        ``begun`` says that its first byte was in the data that has just arrived.
        """
        if begun:
            self._received = self._head_size() if self._reading == HEAD else 0
        if len(self.headers) > HEADERS_LIMIT or (
            self._reading == HEAD and self._received > HEAD_LIMIT
        ):
            self._refuse(_head_too_large())
        elif self._received > self._terms.message_limit:
            self._refuse(too_large(self._terms.message_limit, "the body takes"))

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_message_begin(self) -> None:
        """Note that the head of a request is being read."""
        super().on_message_begin()
        self._reading = HEAD
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Start the request, or raise a problem if its head is too large or too many wait."""
        if self._received > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
            raise _head_too_large()
        if len(self.headers) > HEADERS_LIMIT:
            raise _head_too_large()
        if len(self.pipeline) >= PIPELINE_LIMIT:
            detail = "too many requests wait on this connection"
            raise ProblemError(503, detail, RETRY, QUEUE_FULL)
        super().on_headers_complete()
        self._reading = BODY
        self._received = 0

    def on_message_complete(self) -> None:
        """Note that the request has been read completely."""
        super().on_message_complete()
        self.scope["state"][WHOLE] = True
        self._reading = NOTHING

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._current = cycle
        if self._terms.leaving():
            self.loop.call_soon(self.leave)  # once what came with the request has been read
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Start the next request (instead of Uvicorn's method, which sets a timer every time)."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._reading == BODY and self.expect_100_continue:
            self.transport.close()  # the next bytes may be the body or another request
        else:
            self._since = self.loop.time()

    def leave(self) -> None:
        """Make the answer that is being prepared the last one, if none wait behind it."""
        if self._current and not self._current.response_started and not self.pipeline:
            self._current.keep_alive = False

    def idle_seconds(self) -> float | None:
        """Return for how long the client has had the turn; None while a request is at work."""
        if self._is_answering() or self._reading != NOTHING or self.transport.is_closing():
            return None
        return self.loop.time() - self._since

    def is_lingering(self) -> bool:
        """Tell whether the client may still be reading the last answer."""
        return self._lingering.since is not None

    def shutdown(self) -> None:
        """Close, or make the answer that is being prepared the last one."""
        if self._is_answering():
            super().shutdown()
        else:
            self._lingering.end()

    def _close(self) -> None:
        """Close; if the client may still be sending, only our side until it has read the answer."""
        unread = self._reading != NOTHING or self._discards or self.pipeline
        if self._lingering.is_closing() or not unread or len(self.connections) > self._terms.most:
            self._lingering.end()
            return
        self._discards = True
        self._since = self.loop.time()
        self.flow.resume_reading()
        self._lingering.linger(self._since)

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._unsent_since = 0.0

    def check_time(self, now: float) -> None:
        """Close the connection if it has waited too long; ``now`` is on the loop's clock."""
        if self.transport.get_write_buffer_size():
            self._unsent_since = self._unsent_since or now
            if now - self._unsent_since > self._terms.deadline:
                self.transport.abort()
            return
        self._unsent_since = 0.0
        if self._lingering.since is not None:
            if now - self._since > self._longest_wait() or (
                now - self._lingering.since > self._terms.deadline
            ):
                self._lingering.end()
            return
        if self.transport.is_closing() or self._is_answering():
            return  # the request that is being answered has its own deadline
        if now - self._since <= self._longest_wait():
            return
        if self._reading == HEAD:
            detail = "the head of the request did not arrive in time"
            self._refuse(ProblemError(408, detail, reason="head_too_late"))
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self._current is not None and not self._current.response_complete

    def _longest_wait(self) -> float:
        crowded = len(self.connections) > CROWDED * self._terms.most
        if self._lingering.since is not None:
            return min(CROWDED_WAIT if crowded else math.inf, self._terms.head_deadline)
        if self.cycle is None or self._reading != NOTHING:
            return self._terms.head_deadline
        if crowded:
            return min(CROWDED_WAIT, self.timeout_keep_alive)
        return self.timeout_keep_alive

    def _refuse(self, problem: ProblemError) -> None:
        """Stop reading, answer with a problem after the requests before, and close."""
        self._discards = True
        if self._reading == BODY:
            self._refuse_running(problem)
            return
        if self._reading == NOTHING:  # there is no request
            self.on_message_begin()
        waits = self._is_answering()
        self.cycle = self._cycle_of_partial()
        app = self._terms.refusing(problem)
        if waits:
            self.pipeline.appendleft((self.cycle, app))
        else:
            self._start_asgi_task(self.cycle, app)

    def _cycle_of_partial(self) -> RequestResponseCycle:
        """Return the cycle of a request read only in part: method or path may be unknown."""
        method = self.parser.get_method().decode("ascii") if self.url else UNKNOWN
        path = self.url.partition(b"?")[0].decode("ascii", "backslashreplace")
        self.scope["method"], self.scope["path"] = method, path[:KIBIBYTE] or UNKNOWN
        return RequestResponseCycle(
            self.scope,
            self.transport,
            self.flow,
            self.logger,
            self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )

    def _refuse_running(self, problem: ProblemError) -> None:
        """Refuse a request after its head: its body cannot be read, and the app may have begun."""
        if self.cycle is not self._current:  # it waits for its turn: the app has not begun
            self.pipeline[0] = (self.cycle, self._terms.refusing(problem))
        elif self.cycle.response_started:
            self.transport.close()
        else:
            task = self.loop.create_task(self._answer_instead(self.cycle, problem))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    async def _answer_instead(self, cycle: RequestResponseCycle, problem: ProblemError) -> None:
        """Answer in the app's place; the app waits for the body and is told that the client left.

        So the app counts the request as failed, for the reason that is in the request's state.
        """
        if cycle.response_started:
            self.transport.close()
            return
        app: Any = RequestIds(Refusal(problem))
        await app(cycle.scope, cycle.receive, cycle.send)


def watch(connections: Collection[object], every: float) -> None:
    """Check all connections now, and then every ``every`` seconds on the running loop."""
    loop = asyncio.get_running_loop()
    loop.call_later(every, watch, connections, every)
    for connection in tuple(connections):
        if isinstance(connection, Connection):
            connection.check_time(loop.time())


def room_for(wanted: int) -> int:
    """Return how many connections to allow, at most ``wanted``: each takes a file descriptor.

    The process's soft limit of open files is increased as needed, up to its hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    need = wanted + SPARE
    allowed = need if hard == resource.RLIM_INFINITY else min(need, hard)
    if soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return max(1, min(wanted, max(soft - SPARE, soft // 2)))


def _head_too_large() -> ProblemError:
    detail = f"the head of the request has more than {HEAD_LIMIT} bytes or {HEADERS_LIMIT} headers"
    return ProblemError(431, detail, reason="head_too_large")


def _problem(error: httptools.HttpParserError) -> ProblemError:
    """Return the problem to answer with after the parser has failed."""
    cause = error.__context__  # raised by our own callbacks of the parser
    if isinstance(cause, ProblemError):
        return cause
    why = "its target cannot be read" if cause else str(error)
    return ProblemError(400, f"this is not a request of HTTP/1.1: {why}")
