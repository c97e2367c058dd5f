"""Count every request and write it to the access log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access_log import AccessLog
from .metrics import Metrics
from .problems import reason_for
from .stages import Stopwatch

CLIENT_GONE = 499  # nginx's status for a client that left before the answer
UNKNOWN_ROUTE = "other"
TIMING = b"server-timing"  # W3C Server Timing: browsers show it beside the round trip


class Observer:
    """ASGI middleware: counts each request and writes one log entry for it (``log`` None: no log).

    Each answer says in its header ``Server-Timing`` how long the server took, and its stages.

    Successful probes (health, metrics) are counted but not logged: they would hide the rest.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: AccessLog | None) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watch = Stopwatch()
        scope.setdefault("state", {})["watch"] = watch
        status, size = CLIENT_GONE, 0

        async def send_observed(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (TIMING, watch.header())]
            size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        finally:
            watch.lap("write")
            self._record(scope, status, size, watch)

    def _record(self, scope: Scope, status: int, size: int, watch: Stopwatch) -> None:
        seconds = watch.total
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        asked = status == 200 and "tokenize" in watch.seconds
        self._metrics.requested(route, status, seconds, watch.seconds if asked else None)
        state: Mapping[str, Any] = scope.get("state", {})
        reason = state.get("reason") or (reason_for(status) if status >= 400 else None)
        probe = _is_probe(scope["path"])
        if reason and not probe:
            self._metrics.failures.labels(reason).inc()
        if self._log and not (probe and status == 200):
            entry = _entry(scope, status, size, seconds, reason)
            if not self._log.write(entry):
                self._metrics.dropped.inc()


def _is_probe(path: str) -> bool:
    return path == "/metrics" or "/health/" in path or path.endswith("/ready")


def _entry(
    scope: Scope, status: int, size: int, seconds: float, reason: str | None
) -> dict[str, object]:
    state: Mapping[str, Any] = scope.get("state", {})
    client = scope.get("client")
    entry: dict[str, object] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": state.get("request_id"),
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 2),
        "bytes": size,
    }
    if "sentences" in state:
        entry["sentences"] = state["sentences"]
    if reason:
        entry["reason"] = reason
    return entry
