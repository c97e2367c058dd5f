from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from tiankong.server.http.request_ids import RequestIds


@pytest.mark.parametrize("given", ["abc", "a b", "x" * 128, "0f-9_~!"])
def test_a_sane_id_is_kept(client: TestClient, given: str) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": given})
    assert response.headers["x-request-id"] == given == response.json()["request_id"]


@pytest.mark.parametrize("given", ["", " ", "x" * 129, b"\xe9", b"tab\there", b"\x7f"])
def test_any_other_is_replaced(client: TestClient, given: str | bytes) -> None:
    raw = given if isinstance(given, bytes) else given.encode()
    response = client.get("/nowhere", headers=[(b"X-Request-ID", raw)])
    made = response.headers["x-request-id"]
    assert len(made) == 32
    assert made == response.json()["request_id"]


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/openapi.json", "/nowhere"])
def test_every_response_has_one(client: TestClient, path: str) -> None:
    first, second = (client.get(path).headers["x-request-id"] for _ in range(2))
    assert first != second


def test_a_client_that_left_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ClientDisconnect

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    asyncio.run(RequestIds(app)({"type": "http", "headers": []}, receive, send))
    assert not caplog.records
