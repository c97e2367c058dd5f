"""The reference server: routes over one predictor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..toolkit.predictor import Predictor, as_body
from .bodies import parse_batch, parse_question, read_body
from .problems import RETRY, ProblemError, problem_response
from .request_ids import RequestIds, request_id
from .schemas import PROBLEMS, SCHEMAS, operation
from .service import Service
from .settings import Settings

DETAILS = {404: "there is nothing at this path", 405: "this path does not take this method"}

router = APIRouter()


class Api(FastAPI):
    """FastAPI with the schemas of ``schemas.py`` in its document."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return super().openapi() | {"components": {"schemas": SCHEMAS}}


def create_app(predictor: Predictor, settings: Settings) -> FastAPI:
    """Return the app; ``app.state.service`` is the Service behind it.

    The lifespan warms the service up at the start and ends its threads at the end.
    """
    app = Api(
        title="tiankong",
        description="Fill in the blanks of Chinese sentences.",
        lifespan=_lifespan,
        docs_url=None,  # the page would load its scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.service = Service(predictor, settings)
    app.include_router(router)
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_middleware(RequestIds)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.warm_up()
    yield
    service.close()


@router.post("/predict", openapi_extra=operation("Answer", list(PROBLEMS), "Question"))
async def predict(request: Request) -> Response:
    """Rank the tokens for every [MASK] of a sentence."""
    service = _service(request)
    until = service.accept()
    question = parse_question(await read_body(request, service.settings.body_limit, until))
    [answer] = await service.ask(question, until)
    return JSONResponse(as_body(answer) | {"variant": service.variant})


@router.post(
    "/predict/batch", openapi_extra=operation("BatchAnswer", list(PROBLEMS), "BatchQuestion")
)
async def predict_batch(request: Request) -> Response:
    """Rank the tokens for every [MASK] of several sentences."""
    service = _service(request)
    until = service.accept()
    body = await read_body(request, service.settings.body_limit, until)
    answers = await service.ask(parse_batch(body, service.settings.max_texts), until)
    return JSONResponse(
        {"predictions": [as_body(answer) for answer in answers], "variant": service.variant}
    )


@router.get("/health/live", openapi_extra=operation("Health", []))
async def live() -> Response:
    """Say that the process runs."""
    return JSONResponse({"status": "live"})


@router.get("/health/ready", openapi_extra=operation("Health", [503]))
async def ready(request: Request) -> Response:
    """Say whether requests should be sent here."""
    if reason := _service(request).not_ready:
        raise ProblemError(503, reason, RETRY)
    return JSONResponse({"status": "ready"})


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.status, error.detail, request_id(request), error.headers)


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = DETAILS.get(error.status_code, error.detail)
    return problem_response(error.status_code, detail, request_id(request), error.headers)
