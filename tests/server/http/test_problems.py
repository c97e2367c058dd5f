from __future__ import annotations

import json

from tiankong.server.http.problems import problem_response


def test_a_problem_is_rfc_9457_with_the_articles_key() -> None:
    response = problem_response(503, "the queue is full", "r1", {"Retry-After": "1"})
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert json.loads(bytes(response.body)) == {
        "type": "about:blank",
        "status": 503,
        "title": "Service Unavailable",
        "detail": "the queue is full",
        "request_id": "r1",
        "error": "the queue is full",
    }


def test_titles_are_those_of_rfc_9110_on_every_python() -> None:
    assert json.loads(bytes(problem_response(413, "", "").body))["title"] == "Content Too Large"
    assert json.loads(bytes(problem_response(422, "", "").body))["title"] == "Unprocessable Content"


def test_a_detail_that_quotes_half_a_surrogate_still_encodes() -> None:
    assert json.loads(bytes(problem_response(404, "\ud800", "").body))["detail"] == "\ud800"
