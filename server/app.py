"""The reference server: routes over one predictor."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..toolkit.predictor import Predictor, as_body
from . import open_inference, page
from .access_log import AccessLog
from .api_keys import ApiKeys, read_keys
from .bodies import parse_batch, parse_question, read_body
from .metrics import Collected
from .observer import Observer
from .problems import ProblemError, problem_response
from .request_ids import RequestIds, request_id
from .schemas import ASKING, SCHEMAS, operation
from .service import Service, service_of
from .settings import Settings

METRICS = {
    "responses": {"200": {"content": {"text/plain": {"schema": {"type": "string"}}}}},
}
DETAILS = {404: "there is nothing at this path", 405: "this path does not take this method"}

router = APIRouter()


class Api(FastAPI):
    """FastAPI with the schemas of ``schemas.py`` in its document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return super().openapi() | {"components": {"schemas": SCHEMAS}}


Everyone = Callable[[], Awaitable[Collected]]
"""Gathers what all replicas have counted."""


def create_app(
    predictor: Predictor,
    settings: Settings,
    log_to: int | None = None,
    everyone: Everyone | None = None,
) -> FastAPI:
    """Return the app; ``app.state.service`` is the Service behind it.

    ``log_to`` is a file descriptor for the access log (None: standard output), ``everyone`` says
    what /metrics tells where this is one replica of several.

    The lifespan warms the service up at the start and ends its threads at the end.  Raises
    UnusableInputError if the file of API keys is of no use.
    """
    keys = read_keys(settings.api_key_file) if settings.api_key_file else None
    descriptor = sys.stdout.fileno() if log_to is None else log_to
    log = AccessLog(descriptor) if settings.access_log else None
    app = Api(
        title="tiankong",
        description="Fill in the blanks of Chinese sentences.",
        lifespan=_lifespan,
        docs_url=None,  # the page would load its scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
    )
    service = app.state.service = Service(predictor, settings)
    app.state.access_log, app.state.everyone = log, everyone
    for part in (router, open_inference.router, page.router):
        app.include_router(part)
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_error)
    # The last one added is the first to see a request.
    if keys is not None:
        app.add_middleware(ApiKeys, keys=keys)
    app.add_middleware(RequestIds)
    app.add_middleware(Observer, metrics=service.metrics, log=log)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.warm_up()
    yield
    service.close()
    if app.state.access_log:
        app.state.access_log.close()


@router.post("/predict", openapi_extra=operation("Answer", ASKING, "Question"))
async def predict(request: Request) -> Response:
    """Rank the tokens for every [MASK] of a sentence."""
    service = service_of(request)
    until = service.accept()
    question = parse_question(await read_body(request, service.settings.body_limit, until))
    request.state.sentences = 1
    [answer] = await service.ask(question, until)
    return JSONResponse(as_body(answer) | {"variant": service.variant})


@router.post("/predict/batch", openapi_extra=operation("BatchAnswer", ASKING, "BatchQuestion"))
async def predict_batch(request: Request) -> Response:
    """Rank the tokens for every [MASK] of several sentences."""
    service = service_of(request)
    until = service.accept()
    body = await read_body(request, service.settings.body_limit, until)
    question = parse_batch(body, service.settings.max_texts)
    request.state.sentences = len(question.texts)
    answers = await service.ask(question, until)
    return JSONResponse(
        {"predictions": [as_body(answer) for answer in answers], "variant": service.variant}
    )


@router.get("/metrics", openapi_extra=METRICS)
async def metrics(request: Request) -> Response:
    """Give the counters of this server, for Prometheus."""
    accept = request.headers.get("accept", "")
    everyone: Everyone | None = request.app.state.everyone
    collected = await everyone() if everyone else None
    content, media_type = service_of(request).metrics.exposition(accept, collected)
    return Response(content, headers={"Content-Type": media_type})


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live", openapi_extra=operation("Health", []))
async def live() -> Response:
    """Say that the process runs."""
    return JSONResponse({"status": "live"})


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", openapi_extra=operation("Health", [503]))
async def ready(request: Request) -> Response:
    """Say whether requests should be sent here."""
    service_of(request).require_ready()
    return JSONResponse({"status": "ready"})


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    request.state.reason = error.reason
    return problem_response(error.status, error.detail, request_id(request), error.headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = DETAILS.get(error.status_code, error.detail)
    return problem_response(error.status_code, detail, request_id(request), error.headers)
