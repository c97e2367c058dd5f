from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from tiankong.server.http.request_ids import RequestIds


@pytest.mark.parametrize("header", ["abc", "a b", "x" * 128, "0f-9_~!"])
def test_a_sane_id_is_kept(client: TestClient, header: str) -> None:
    response = client.get("/nowhere", headers={"X-Request-ID": header})
    assert response.headers["x-request-id"] == header == response.json()["request_id"]


@pytest.mark.parametrize("header", ["", " ", "x" * 129, b"\xe9", b"tab\there", b"\x7f"])
def test_any_other_is_replaced(client: TestClient, header: str | bytes) -> None:
    raw = header if isinstance(header, bytes) else header.encode()
    response = client.get("/nowhere", headers=[(b"X-Request-ID", raw)])
    request_id = response.headers["x-request-id"]
    assert len(request_id) == 32
    assert request_id == response.json()["request_id"]


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
