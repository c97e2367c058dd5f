"""The OpenAPI document, made from the routes: the requests, answers and problems of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..http.problems import MEDIA_TYPE
from .schemas import PROBLEMS, SCHEMAS, Schema, ref

OPENAPI = "3.1.0"
PATH = "/openapi.json"
DONE = "The answer"
IDENTIFIER = str.maketrans("/-.", "___", "{}")

Handler = Callable[[Request], Awaitable[Response]]


def _app(handler: Handler) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    return app


class Operation(Route):
    """A route with an entry in the document; the handler's docstring begins with its summary.

    Args:
        method: GET (which answers HEAD as well) or POST.
        path: with parameters in braces.
        handler: answers a request.
        answer: the schema of its answer in JSON; empty if the answer is plain text.
        problems: the statuses of its problems (see ``PROBLEMS``).
        question: the schema of the request's body; empty if there is none.

    """

    def __init__(
        self,
        method: Literal["GET", "POST"],
        path: str,
        handler: Handler,
        answer: str = "",
        problems: Sequence[int] = (),
        question: str = "",
    ) -> None:
        super().__init__(path, handler, methods=[method])
        # Starlette's own would put the app's exception handlers around each route a second time.
        self.app = _app(handler)
        self._method = method.lower()
        self._answer, self._problems, self._question = answer, problems, question

    def described(self) -> Schema:
        """Return the document's entry for the path: the method and its description."""
        entry: Schema = {
            "summary": (self.endpoint.__doc__ or "").partition("\n")[0],
            # From method and path: it is unique, and changes only when they do.
            "operationId": f"{self._method}{self.path}".translate(IDENTIFIER).strip("_"),
            "responses": self._responses(),
        }
        if names := list(self.param_convertors):
            text = {"type": "string"}
            entry["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": text} for name in names
            ]
        if self._question:
            entry["requestBody"] = {"required": True, "content": _json(ref(self._question))}
        return {self._method: entry}

    def _responses(self) -> Schema:
        content = (
            _json(ref(self._answer))
            if self._answer
            else {"text/plain": {"schema": {"type": "string"}}}
        )
        return {"200": {"description": DONE, "content": content}} | {
            str(status): {
                "description": PROBLEMS[status],
                "content": {MEDIA_TYPE: {"schema": ref("Problem")}},
            }
            for status in self._problems
        }


def document(title: str, description: str, routes: Iterable[BaseRoute]) -> Schema:
    """Return the OpenAPI document of an app; it leaves out routes that are not an Operation."""
    paths: Schema = {}
    for route in routes:
        if isinstance(route, Operation):
            paths.setdefault(route.path, {}).update(route.described())
    return {
        "openapi": OPENAPI,
        "info": {"title": title, "description": description, "version": version("tiankong")},
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
