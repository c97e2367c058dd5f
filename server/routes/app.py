"""The reference server: routes over one predictor."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...toolkit.building.manifest import read_manifest
from ...toolkit.engines.predictor import Predictor
from ...toolkit.errors import UnusableInputError
from ..batching.service import Service, service_of
from ..http.access_log import AccessLog
from ..http.api_keys import ApiKeys, read_keys
from ..http.bodies import parse_batch, parse_question, read_body
from ..http.metrics import Collected
from ..http.observer import Observer
from ..http.presence import Presence
from ..http.problems import ProblemError
from ..http.request_ids import RequestIds, request_id
from ..settings import Settings
from . import open_inference, openapi, page
from .answers import all_answered, answered
from .openapi import Operation
from .schemas import ASKING

TITLE, DESCRIPTION = "tiankong", "Fill in the blanks of Chinese sentences."
DETAILS = {404: "there is nothing at this path", 405: "this path does not take this method"}

Everyone = Callable[[], Awaitable[Collected]]
"""Collects the metrics of all replicas."""


def create_app(
    predictor: Predictor,
    settings: Settings,
    log_to: int | None = None,
    everyone: Everyone | None = None,
    beside: Predictor | None = None,
) -> Starlette:
    """Return the app; ``app.state.service`` is the Service behind it.

    ``log_to`` is a file descriptor for the access log (None: standard output).  ``everyone``
    collects what /metrics returns if this server is one of several replicas.  ``beside`` is a
    second variant, which answers as a model of the Open Inference Protocol: it has a Service of its
    own, and ``app.state.services`` has both by name.

    The lifespan warms the service up at the start and ends its threads at the end.  Raises
    UnusableInputError if the file of API keys cannot be used.
    """
    keys = read_keys(settings.api_key_file) if settings.api_key_file else None
    log = None
    if settings.access_log:
        log = AccessLog(sys.stdout.fileno() if log_to is None else log_to)
    app = Starlette(
        routes=[*ROUTES, *open_inference.ROUTES, *page.ROUTES, Route(openapi.PATH, _document)],
        lifespan=_lifespan,
        exception_handlers={ProblemError: _answer_problem, HTTPException: _answer_http_error},
    )
    app.router.redirect_slashes = False
    service = app.state.service = Service(predictor, settings)
    app.state.access_log, app.state.everyone = log, everyone
    services = [service]
    if beside:
        services.append(Service(beside, replace(settings, folder=settings.beside or Path())))
    app.state.services = {each.variant: each for each in services}
    app.state.about = {each.variant: _about(each.settings.folder) for each in services}
    # The last one added is the first to see a request.
    if keys is not None:
        app.add_middleware(ApiKeys, keys=keys)
    app.add_middleware(RequestIds)
    app.add_middleware(Observer, metrics=service.metrics, log=log)
    return app


def _about(folder: Path) -> dict[str, Any]:
    """Return what the manifest in a variant's folder says of the model and of the variant."""
    try:
        manifest = read_manifest(folder)
    except UnusableInputError:  # a predictor made in memory has no folder
        return {"model": {}}
    return {
        "model": {
            key: manifest.model[key] for key in ("name", "parameters") if key in manifest.model
        },
        "variant": {
            "engine": manifest.recipe.engine,
            "bytes": manifest.model_file_size,
        },
    }


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    services: Collection[Service] = app.state.services.values()
    for service in services:  # one after the other: a start may measure what is fastest
        await service.warm_up()
    yield
    for service in services:
        service.close()
    if app.state.access_log:
        app.state.access_log.close()


async def predict(request: Request) -> Response:
    """Rank the tokens for every [MASK] of a sentence."""
    service = service_of(request)
    until = service.accept()
    question = parse_question(await read_body(request, service.settings.body_limit, until))
    request.state.watch.lap("read")
    request.state.sentences = 1
    with Presence(request, service.deadlines):
        [answer] = await service.ask(question, until, request.state.watch)
    return answered(answer, service.variant)


async def predict_batch(request: Request) -> Response:
    """Rank the tokens for every [MASK] of several sentences."""
    service = service_of(request)
    until = service.accept()
    body = await read_body(request, service.settings.body_limit, until)
    question = parse_batch(body, service.max_texts)
    request.state.watch.lap("read")
    request.state.sentences = len(question.texts)
    with Presence(request, service.deadlines):
        answers = await service.ask(question, until, request.state.watch)
    return all_answered(answers, service.variant)


async def metrics(request: Request) -> Response:
    """Give the counters of this server, for Prometheus."""
    accept = request.headers.get("accept", "")
    everyone: Everyone | None = request.app.state.everyone
    collected = await everyone() if everyone else None
    content, media_type = service_of(request).metrics.exposition(accept, collected)
    return Response(content, headers={"Content-Type": media_type})


async def live(_: Request) -> Response:
    """Say that the process runs."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    """Say whether requests should be sent here."""
    service_of(request).require_ready()
    return JSONResponse({"status": "ready"})


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    request.state.reason = error.reason
    return error.response(request_id(request))


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = DETAILS.get(error.status_code, error.detail)
    problem = ProblemError(error.status_code, detail, error.headers)
    return problem.response(request_id(request))


async def _document(request: Request) -> Response:
    return JSONResponse(openapi.document(TITLE, DESCRIPTION, request.app.routes))


ROUTES = [
    Operation("POST", "/predict", predict, "Answer", ASKING, "Question"),
    Operation("POST", "/predict/batch", predict_batch, "BatchAnswer", ASKING, "BatchQuestion"),
    Operation("GET", "/metrics", metrics, problems=[401]),
    Operation("GET", "/health/live", live, "Health"),
    Operation("GET", "/health/ready", ready, "Health", [503]),
]
