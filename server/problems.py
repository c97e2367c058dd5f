"""Errors as clients see them: application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
CLOSE = {"Connection": "close"}
RETRY = {"Retry-After": "1"}
# RFC 9110's names; http.HTTPStatus still has the old ones before Python 3.13.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}


class ProblemError(Exception):
    """A request that gets no answer: an HTTP status, a sentence for people, extra headers."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def problem_response(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the problem document; ``error`` repeats the detail for the article's clients."""
    document = {
        "type": "about:blank",
        "status": status,
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "detail": detail,
        "request_id": request_id,
        "error": detail,
    }
    # ASCII on the wire: a detail that quotes the request can then never fail to encode.
    return Response(json.dumps(document), status, dict(headers or {}), MEDIA_TYPE)
