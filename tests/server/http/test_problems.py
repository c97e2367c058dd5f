from __future__ import annotations

import json

from tiankong.server.http.problems import ProblemError, problem_response


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


def test_a_program_reads_a_code_and_the_figures() -> None:
    values = {"tokens": 600, "most": 512}
    problem = ProblemError(422, "too long", {"Retry-After": "1"}, None, "too_many_tokens", values)
    response = problem.response("r1", {"Connection": "close"})
    assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
    document = json.loads(bytes(response.body))
    assert (document["code"], document["values"]) == ("too_many_tokens", values)
    document = json.loads(bytes(ProblemError(504, "too late").response("r1").body))
    assert document["code"] == "deadline"
    assert "values" not in document


def test_titles_are_those_of_rfc_9110_on_every_python() -> None:
    assert json.loads(bytes(problem_response(413, "", "").body))["title"] == "Content Too Large"
    assert json.loads(bytes(problem_response(422, "", "").body))["title"] == "Unprocessable Content"


def test_a_detail_that_quotes_half_a_surrogate_still_encodes() -> None:
    assert json.loads(bytes(problem_response(404, "\ud800", "").body))["detail"] == "\ud800"
