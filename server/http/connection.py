"""A client's connection: whatever the client does, it takes a bounded share for a bounded time."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import httptools
from starlette.types import Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ..settings import KIBIBYTE
from .access_log import AccessLog
from .metrics import Metrics
from .observer import Observer
from .problems import CLOSE, QUEUE_FULL, RETRY, ProblemError, problem_response
from .request_ids import RequestIds

HEAD_LIMIT = 32 * KIBIBYTE
HEADERS_LIMIT = 100  # each costs many times its bytes
PIPELINE_LIMIT = 64  # requests that wait for the answer to the one before
CHUNKED = 8  # a body on the wire over the body: chunks of one byte take six
SPARE = 128  # descriptors for all that is no connection
CROWDED = 3 / 4  # of all connections: from here on idle ones make room
CROWDED_KEEP_ALIVE = 1.0
EVERY = 1.0  # seconds between two looks at all connections
UNKNOWN = "-"
WISH = re.compile(rb"\r\nUpgrade:[^\r\n]*", re.IGNORECASE)
NOTHING, HEAD, BODY = range(3)  # what is being read


@dataclass(frozen=True)
class ConnectionTerms:
    """What holds for all connections of a server.

    Args:
        head_deadline: seconds for the head of a request, and for the rest of a body that nobody
            wants.
        deadline: seconds for a client to take some of what was sent to it.
        body_limit: bytes of a request's body.
        most: connections at the same time.
        metrics: counts what is refused.
        log: has a line for what is refused (None: there is no log).

    """

    head_deadline: float
    deadline: float
    body_limit: int
    most: int
    metrics: Metrics
    log: AccessLog | None

    @property
    def message_limit(self) -> int:
        """Bytes of a message after its head, with all that is not body."""
        return HEAD_LIMIT + CHUNKED * self.body_limit

    def refusing(self, problem: ProblemError) -> Any:
        """Return an ASGI app (to Uvicorn's types or Starlette's) that answers with a problem."""
        return Observer(RequestIds(Refusal(problem)), self.metrics, self.log)


class Refusal:
    """ASGI app: answers what never reaches the server's own with a problem."""

    def __init__(self, problem: ProblemError) -> None:
        self._problem = problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        problem, state = self._problem, scope["state"]
        state["reason"] = problem.reason
        headers = {**problem.headers, **CLOSE}
        response = problem_response(problem.status, problem.detail, state["request_id"], headers)
        await response(scope, receive, send)


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, with limits on what it waits for and keeps.

    Nothing is timed by itself: :func:`watch` looks at all connections from time to time.
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
        self._came = 0  # bytes of what is being read, or more
        self._since = 0.0  # on the loop's clock: what is waited for has been waited for since then
        self._unsent_since = 0.0
        self._deaf = False  # what still comes is thrown away
        self._answered: RequestResponseCycle | None = None  # now; others may wait for their turn

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or refuse at once where there are too many."""
        super().connection_made(transport)
        self._since = self.loop.time()
        if len(self.connections) > self._terms.most:
            detail = "the server has as many connections as it can have"
            self._refuse(ProblemError(503, detail, RETRY, "too_many_connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered (Uvicorn tells only the last one that came)."""
        super().connection_lost(exc)
        if self._answered and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Read on (in the place of Uvicorn's: it warns on standard error of every mistake)."""
        if self._deaf:
            return
        if self._reading == NOTHING and b"pgrade" in data:
            data = _without_wish(data)
        before = self.scope
        self._came += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # A wish that came in pieces.  The answer stays in this protocol; what comes next may be
            # in the other one, or a body that the parser takes for a request.
            self._deaf = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse(_problem(error))
        else:
            if self._reading == NOTHING:
                self._came = 0
            else:
                self._check_size(begun=self.scope is not before)

    def _check_size(self, begun: bool) -> None:
        """Refuse what is too large already; ``begun``: its first byte was in the last data."""
        if begun:
            self._came = self._head_size() if self._reading == HEAD else 0
        if len(self.headers) > HEADERS_LIMIT or (self._reading == HEAD and self._came > HEAD_LIMIT):
            self._refuse(_head_too_large())
        elif self._came > self._terms.message_limit:
            self._refuse(
                ProblemError(413, f"the body takes more than {self._terms.message_limit} bytes")
            )

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_message_begin(self) -> None:
        """Note that a head is being read."""
        super().on_message_begin()
        self._reading = HEAD
        self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Hand a request over whose head is not too large."""
        if self._came > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
            raise _head_too_large()
        if len(self.headers) > HEADERS_LIMIT:
            raise _head_too_large()
        if len(self.pipeline) >= PIPELINE_LIMIT:
            detail = "too many requests wait on this connection"
            raise ProblemError(503, detail, RETRY, QUEUE_FULL)
        super().on_headers_complete()
        self._reading = BODY
        self._came = 0

    def on_message_complete(self) -> None:
        """Note that a request was read to its end."""
        super().on_message_complete()
        self._reading = NOTHING

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on to the next request (in the place of Uvicorn's: it sets a timer every time)."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._reading == BODY and self.expect_100_continue:
            self.transport.close()  # what comes next may be the body or another request
        else:
            self._since = self.loop.time()

    def resume_writing(self) -> None:
        """Note that the client has taken what was sent."""
        super().resume_writing()
        self._unsent_since = 0.0

    def look(self, now: float) -> None:
        """Give up what has been waited for too long at this moment of the loop's clock."""
        if self.transport.get_write_buffer_size():
            self._unsent_since = self._unsent_since or now
            if now - self._unsent_since > self._terms.deadline:
                self.transport.abort()
            return
        self._unsent_since = 0.0
        if self.transport.is_closing() or self._is_asking():
            return  # a request has a deadline of its own
        if now - self._since <= self._patience():
            return
        if self._reading == HEAD:
            detail = "the head of the request did not arrive in time"
            self._refuse(ProblemError(408, detail, reason="head_too_late"))
        else:
            self.transport.close()

    def _is_asking(self) -> bool:
        return self._answered is not None and not self._answered.response_complete

    def _patience(self) -> float:
        if self.cycle is None or self._reading != NOTHING:
            return self._terms.head_deadline
        if len(self.connections) > CROWDED * self._terms.most:
            return min(CROWDED_KEEP_ALIVE, self.timeout_keep_alive)
        return self.timeout_keep_alive

    def _refuse(self, problem: ProblemError) -> None:
        """Answer what cannot be read on with a problem, in its turn, and close."""
        self._deaf = True
        if self._reading == BODY:
            self._break_off(problem)
            return
        if self._reading == NOTHING:  # there is no request
            self.on_message_begin()
        waits = self._is_asking()
        self.cycle = self._nameless_cycle()
        app = self._terms.refusing(problem)
        if waits:
            self.pipeline.appendleft((self.cycle, app))
        else:
            self._start_asgi_task(self.cycle, app)

    def _nameless_cycle(self) -> RequestResponseCycle:
        """Return what answers a request of which only so much is known as has been read."""
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

    def _break_off(self, problem: ProblemError) -> None:
        """End a request that is with the app already, and whose body cannot be read on."""
        if self.cycle is not self._answered:  # its turn has not come
            self.pipeline[0] = (self.cycle, self._terms.refusing(problem))
        elif self.cycle.response_started:
            self.transport.close()
        else:
            task = self.loop.create_task(self._answer_instead(self.cycle, problem))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    async def _answer_instead(self, cycle: RequestResponseCycle, problem: ProblemError) -> None:
        """Answer for the app, which waits for the body and then hears that its client has left.

        So it counts the request as one without an answer, for the reason that stands in its state.
        """
        if cycle.response_started:
            self.transport.close()
            return
        app: Any = RequestIds(Refusal(problem))
        await app(cycle.scope, cycle.receive, cycle.send)


def watch(connections: Collection[object], every: float) -> None:
    """Look at all connections, now and again ``every`` so many seconds on the running loop."""
    loop = asyncio.get_running_loop()
    loop.call_later(every, watch, connections, every)
    for connection in tuple(connections):
        if isinstance(connection, Connection):
            connection.look(loop.time())


def room_for(wanted: int) -> int:
    """Return how many connections there may be, at most ``wanted``: each takes a descriptor.

    The process is allowed as many as that takes, where its hard limit does not forbid it.
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


def _without_wish(data: bytes) -> bytes:
    """Return a request without the header by which its client would rather speak another protocol.

    It may be ignored (RFC 9110, 7.8), but the parser would take no body after it, which clients
    send nevertheless (Java's ``HttpClient`` with every POST).
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return WISH.sub(b"", head) + end + rest


def _head_too_large() -> ProblemError:
    detail = f"the head of the request has more than {HEAD_LIMIT} bytes or {HEADERS_LIMIT} headers"
    return ProblemError(431, detail, reason="head_too_large")


def _problem(error: httptools.HttpParserError) -> ProblemError:
    """Return what to answer where the parser stopped."""
    cause = error.__context__  # what our own part of the parser raised
    if isinstance(cause, ProblemError):
        return cause
    why = "its target cannot be read" if cause else str(error)
    return ProblemError(400, f"this is not a request of HTTP/1.1: {why}")
