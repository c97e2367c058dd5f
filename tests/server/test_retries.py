from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from tiankong.server import retries
from tiankong.server.retries import BODY_LIMIT, DEADLINE, Retries, ServedBy, middlewares

Router = Callable[[Scope, Receive, Send], Any]
LIMIT = 100


async def read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """A replica's app: returns the body that it received."""
    body = await read(receive)
    name = dict(scope["headers"])[b"x-request-id"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", name)]})
    await send({"type": "http.response.body", "body": body[:1], "more_body": True})
    await send({"type": "http.response.body", "body": body[1:]})


async def dies(scope: Scope, receive: Receive, send: Send) -> None:
    """A router whose replica died before it answered: it sends nothing at all."""
    await read(receive)


async def dies_late(scope: Scope, receive: Receive, send: Send) -> None:
    await read(receive)
    headers = [(b"x-served-by", b"r1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(30)


def says(status: int) -> Router:
    """Return a router that answers by itself, with this status."""

    async def router(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"words of the router"})

    return router


replica = ServedBy(echo, "r1")


class Client:
    """Sends one request; ``routers`` says how the router behaves, one entry per attempt."""

    def __init__(
        self, routers: Sequence[Any], body: Sequence[bytes] = (b"ab", b"cd"), name: str = "me",
        deadline: float = 5.0, leaves: bool = False,
    ) -> None:  # fmt: skip
        self.attempts = 0
        self.sent: list[Message] = []
        self._routers = routers
        self._body = list(body)
        self._leaves = leaves
        self.taken = 0
        scope = {"type": "http", "headers": [(b"x-request-id", name.encode())]}
        app = Retries(self._route, deadline, LIMIT)
        asyncio.run(self._ask(app, scope))

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return list(self.sent[0]["headers"])

    async def _ask(self, app: Retries, scope: Scope) -> None:
        await app(scope, self._receive, self._send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.attempts += 1
        # Ray's router adds headers to request and answer.
        scope["headers"].append((b"added", b"by the router"))
        assert len([key for key, _ in scope["headers"] if key == b"added"]) == 1

        async def adding(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", b"once more")]
            await send(message)

        await self._routers[min(self.attempts, len(self._routers)) - 1](scope, receive, adding)

    async def _receive(self) -> Message:
        if self._leaves:
            return {"type": "http.disconnect"}
        if not self._body:
            await asyncio.sleep(30)
        self.taken += 1
        chunk = self._body.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(self._body)}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


def problem(client: Client) -> dict[str, Any]:
    assert (b"content-type", b"application/problem+json") in client.headers
    document: dict[str, Any] = json.loads(client.body)
    assert document["request_id"] == "me"
    return document


def test_an_answer_passes_with_one_request_id_and_its_replicas_name() -> None:
    client = Client([replica])
    assert (client.attempts, client.status, client.body) == (1, 200, b"abcd")
    assert sorted(client.headers) == [(b"x-request-id", b"me"), (b"x-served-by", b"r1")]


@pytest.mark.parametrize("failure", [dies, dies_late, says(500), says(503)])
def test_where_a_replica_died_another_is_asked_the_same(failure: Router) -> None:
    client = Client([failure, failure, replica])
    assert (client.attempts, client.status, client.body) == (3, 200, b"abcd")
    assert (b"x-request-id", b"me") in client.headers


@pytest.mark.parametrize("failure", [dies, says(500)])
def test_after_three_attempts_it_is_a_503(failure: Router) -> None:
    client = Client([failure])
    assert client.attempts == retries.TRIES == 3
    assert client.status == problem(client)["status"] == 503
    assert (b"retry-after", b"1") in client.headers
    assert b"words of the router" not in client.body


@pytest.mark.parametrize("status", [400, 500, 503, 504])
def test_an_error_that_a_replica_gives_is_not_asked_again(status: int) -> None:
    client = Client([ServedBy(says(status), "r1")])
    assert (client.attempts, client.status) == (1, status)
    assert client.body == b"words of the router"


@pytest.mark.parametrize(("status", "expected"), [(404, 503), (408, 504)])
def test_the_routers_own_errors_are_problems(status: int, expected: int) -> None:
    client = Client([says(status)])
    assert (client.attempts, client.status) == (1, expected)
    assert problem(client)["status"] == expected


def test_the_routers_own_pages_pass() -> None:
    assert Client([says(200)]).body == b"words of the router"


def test_the_deadline_counts_for_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "SPARE", 0.0)
    client = Client([dies, hangs], deadline=0.3)
    assert client.attempts == 2
    assert client.status == problem(client)["status"] == 504


def test_nobody_is_asked_again_for_a_client_that_left() -> None:
    client = Client([dies], leaves=True)
    assert (client.attempts, client.sent) == (1, [])


def test_no_more_of_a_body_is_taken_than_is_needed_to_refuse_it() -> None:
    async def reads_ahead(scope: Scope, receive: Receive, send: Send) -> None:
        reading = asyncio.ensure_future(read(receive))
        await asyncio.sleep(0.1)
        reading.cancel()
        await ServedBy(says(413), "r1")(scope, receive, send)

    client = Client([reads_ahead], body=[b"x" * 60] * 1000)
    assert client.status == 413
    assert client.taken == 2


def test_other_protocols_pass() -> None:
    async def main() -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])

        async def nothing() -> Message:
            return {}

        async def nowhere(message: Message) -> None:
            pass

        await Retries(app, 1.0, LIMIT)({"type": "websocket"}, nothing, nowhere)
        assert seen == ["websocket"]

    asyncio.run(main())


def test_its_terms_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEADLINE, "2.5")
    monkeypatch.setenv(BODY_LIMIT, "123")
    (changed,) = middlewares()
    assert changed.kwargs == {"deadline": 2.5, "body_limit": 123}
    monkeypatch.delenv(DEADLINE)
    monkeypatch.delenv(BODY_LIMIT)
    (usual,) = middlewares()
    assert usual.kwargs == {"deadline": 30.0, "body_limit": 65536}
