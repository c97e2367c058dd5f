"""Errors as clients see them: application/problem+json (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
CLOSE = {"Connection": "close"}
RETRY = {"Retry-After": "1"}
QUEUE_FULL = "queue_full"
DRAINING = "draining"
NOT_READY = "not_ready"
# The reason words for metrics and logs that follow from the status alone.
REASONS = {
    400: "bad_request",
    401: "no_api_key",
    404: "not_found",
    405: "wrong_method",
    408: "body_too_late",
    413: "body_too_large",
    422: "unprocessable",
    499: "client_gone",
    500: "internal",
    504: "deadline",
}
# RFC 9110's names; before Python 3.13 http.HTTPStatus has the old ones.
TITLES = {413: "Content Too Large", 422: "Unprocessable Content", 499: "Client Closed Request"}


class ProblemError(Exception):
    """A request that cannot be answered: HTTP status, message for people, extra headers.

    ``reason`` is a word for metrics and logs; None: the usual one of the status.  ``code`` is for
    programs, finer than the reason (None: the reason), and ``values`` are the figures and words of
    the message: with both a client can say the same in another language.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] | None = None,
        reason: str | None = None,
        code: str | None = None,
        values: Mapping[str, int | str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.reason = reason or reason_for(status)
        self.code = code or self.reason
        self.values = dict(values or {})

    def response(self, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return the response of this problem, with ``headers`` besides its own."""
        every = {**self.headers, **(headers or {})}
        return problem_response(self.status, self.detail, request_id, every, self.code, self.values)


def reason_for(status: int) -> str:
    """Return the reason word of a status."""
    return REASONS.get(status, str(status))


def problem_response(
    status: int,
    detail: str,
    request_id: str,
    headers: Mapping[str, str] | None = None,
    code: str = "",
    values: Mapping[str, int | str] | None = None,
) -> Response:
    """Return the problem as a response; ``error`` repeats the detail for the article's clients.

    ``code`` and ``values`` are left out if they are empty.
    """
    document: dict[str, object] = {
        "type": "about:blank",
        "status": status,
        "title": TITLES.get(status) or HTTPStatus(status).phrase,
        "detail": detail,
        "request_id": request_id,
        "error": detail,
    }
    if code:
        document["code"] = code
    if values:
        document["values"] = dict(values)
    # JSON in ASCII: encoding cannot fail, whatever the detail quotes from the request.
    return Response(json.dumps(document), status, dict(headers or {}), MEDIA_TYPE)
