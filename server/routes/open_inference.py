"""The Open Inference Protocol, version 2, over HTTP (see ``tensors.py`` for its sources).

The served variant is a model, version 1, and so is the one beside it, if any.  The input of each is
the tensor ``text`` (BYTES, any shape, one sentence per element).  Its outputs have a row for every
[MASK], in reading order: ``token`` (BYTES, masks x k), ``score`` (FP32, masks x k) and ``sentence``
(INT64, masks), the index of the row's sentence.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...toolkit.engines.predictor import Answer
from ...toolkit.processes import started_ticks
from ..batching.service import Service, service_of
from ..http.bodies import (
    Question,
    checked,
    parse_object,
    read_body,
    read_candidates,
    read_top_k,
    require_known,
    too_many_texts,
)
from ..http.presence import Presence
from ..http.problems import ProblemError
from .openapi import Operation
from .schemas import ASKING
from .tensors import (
    CONTENT_TYPE,
    JSON_LENGTH,
    Tensor,
    answer_body,
    read_strings,
    require_plain,
    split_body,
)

VERSION = "1"
INPUTS = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
OUTPUTS = [
    {"name": "token", "datatype": "BYTES", "shape": [-1, -1]},
    {"name": "score", "datatype": "FP32", "shape": [-1, -1]},
    {"name": "sentence", "datatype": "INT64", "shape": [-1]},
]
NAMES = tuple(str(output["name"]) for output in OUTPUTS)
MICROSECONDS = 1_000_000
LONGEST = 10**15  # microseconds: longer than any deadline, and small enough for a float
FIELDS = ("id", "model_name", "model_version", "inputs", "outputs", "parameters")
# What clients send by convention and changes nothing here.  "priority": there is one queue, first
# come first served; "headers": MLServer's copy of the request's.
CONVENTIONS = ("priority", CONTENT_TYPE, "headers")
NO_SEQUENCE = {"sequence_id": (0, ""), "sequence_start": (False,), "sequence_end": (False,)}
KNOWN = ("top_k", "candidates", "timeout", "binary_data_output", *CONVENTIONS, *NO_SEQUENCE)
MODEL = "/v2/models/{name}"
MODEL_VERSION = MODEL + "/versions/{number}"


@dataclass(frozen=True)
class InferenceRequest:
    """An inference request: the question, the client's id for it, the outputs, the timeout.

    ``outputs`` are names, each with whether it is sent as bytes.  ``timeout`` is in seconds; None:
    only the server's deadline holds.
    """

    question: Question
    name: str | None
    outputs: Sequence[tuple[str, bool]]
    timeout: float | None


async def server_metadata(request: Request) -> Response:
    """Say what server this is, and which models it has."""
    extensions = ["binary_tensor_data"]
    return JSONResponse(
        {
            "name": "tiankong",
            "version": version("tiankong"),
            "extensions": extensions,
            "models": list(request.app.state.services),
            "process": {"pid": os.getpid(), "started_ticks": started_ticks()},
        }
    )


async def live(_: Request) -> Response:
    """Say that the process runs."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    """Say whether requests should be sent here."""
    service_of(request).require_ready()
    return JSONResponse({"ready": True})


async def model_metadata(request: Request) -> Response:
    """Describe the model, and the settings it is served with."""
    service = _model(request)
    return JSONResponse(
        {
            "name": service.variant,
            "versions": [VERSION],
            "platform": "tiankong",
            "inputs": INPUTS,
            "outputs": OUTPUTS,
            "parameters": service.in_force(),
            **request.app.state.about[service.variant],
        }
    )


async def model_ready(request: Request) -> Response:
    """Say whether the model answers."""
    service = _model(request)
    service.require_ready()
    return JSONResponse({"name": service.variant, "ready": True})


async def infer(request: Request) -> Response:
    """Rank the tokens for every [MASK] of the sentences in the tensor ``text``."""
    service = _model(request)
    until = service.accept()
    body = await read_body(request, service.settings.body_limit, until)
    asked = read_request(body, request.headers.get(JSON_LENGTH), service.max_texts, service.variant)
    if asked.timeout is not None:
        until = min(until, asyncio.get_running_loop().time() + asked.timeout)
    request.state.watch.lap("read")
    request.state.sentences = len(asked.question.texts)
    with Presence(request, service.deadlines):
        answers = await service.ask(asked.question, until, request.state.watch)
    tensors = as_tensors(answers)
    document = {"model_name": service.variant, "model_version": VERSION}
    if asked.name is not None:
        document["id"] = asked.name
    content, length = answer_body(document, [(tensors[name], raw) for name, raw in asked.outputs])
    if length is None:
        return Response(content, media_type="application/json")
    headers = {JSON_LENGTH: str(length)}
    return Response(content, media_type="application/octet-stream", headers=headers)


def read_request(
    body: bytes, json_length: str | None, max_texts: int, model: str
) -> InferenceRequest:
    """Return the inference request in a body.

    Raises a 400 problem if there is none for the model of this name, a 422 problem for more than
    ``max_texts`` texts.
    """
    text, binary = split_body(body, json_length)
    data = parse_object(text)
    parameters = _object(data, "parameters")
    require_known(data, FIELDS)
    require_known(parameters, KNOWN, "parameters: ")
    require_plain(parameters)
    for key, none in NO_SEQUENCE.items():
        if parameters.get(key, none[0]) not in none:
            raise ProblemError(400, f"{key}: there are no sequences here")
    for key, mine in (("model_name", model), ("model_version", VERSION)):
        if data.get(key, mine) not in (mine, None, ""):
            raise ProblemError(400, f"{key} is not that of the path: {mine}")
    name = data.get("id")
    texts = read_strings(_text_tensor(data), binary)
    if not texts:
        raise ProblemError(400, "text has no sentence")
    if len(texts) > max_texts:
        raise too_many_texts("text", len(texts), max_texts)
    for index, item in enumerate(texts):
        checked(item, f"text[{index}]")
    question = Question(tuple(texts), read_top_k(parameters), _candidates(parameters))
    return InferenceRequest(
        question,
        None if name is None else checked(name, "id"),
        _outputs(data),
        _timeout(parameters),
    )


def as_tensors(answers: Sequence[Answer]) -> dict[str, Tensor]:
    """Return the output tensors by name, with a row for every [MASK]."""
    rows = [ranking for answer in answers for ranking in answer]
    sentences = [index for index, answer in enumerate(answers) for _ in answer]
    shape = (len(rows), len(rows[0]))
    tokens = [entry.token for row in rows for entry in row]
    scores = [entry.score for row in rows for entry in row]
    return {
        "token": Tensor("token", "BYTES", shape, tokens),
        "score": Tensor("score", "FP32", shape, scores),
        "sentence": Tensor("sentence", "INT64", (len(rows),), sentences),
    }


def _model(request: Request) -> Service:
    services: Mapping[str, Service] = request.app.state.services
    name = request.path_params["name"]
    service = services.get(name)
    if service is None:
        names = " and ".join(services)
        raise ProblemError(404, f"there is no model {name} here, only {names}")
    if (number := request.path_params.get("number", VERSION)) != VERSION:
        raise ProblemError(404, f"{name} has no version {number}, only {VERSION}")
    return service


def _object(data: dict[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    if value is None:  # some clients send null for a missing field
        return {}
    if not isinstance(value, dict):
        raise ProblemError(400, f"{key} is not an object")
    return value


def _tensors(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    tensors = data.get(key, [])
    if not isinstance(tensors, list) or not all(
        isinstance(tensor, dict) and isinstance(tensor.get("name"), str) for tensor in tensors
    ):
        raise ProblemError(400, f"{key} is not a list of tensors with names")
    return tensors


def _text_tensor(data: dict[str, Any]) -> dict[str, Any]:
    inputs = _tensors(data, "inputs")
    if [tensor["name"] for tensor in inputs] != ["text"]:
        raise ProblemError(400, "inputs is not one tensor with the name text")
    return inputs[0]


def _outputs(data: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the outputs, each with whether it is sent as bytes; by default all, as JSON."""
    all_as_bytes = _flag(_object(data, "parameters"), "binary_data_output", default=False)
    requested = _tensors(data, "outputs")
    if not requested:
        return [(name, all_as_bytes) for name in NAMES]
    outputs = {
        tensor["name"]: _flag(_output_parameters(tensor), "binary_data", default=all_as_bytes)
        for tensor in requested
    }
    if unknown := outputs.keys() - set(NAMES):
        raise ProblemError(400, f"unknown output {min(unknown)}; known: {', '.join(NAMES)}")
    return list(outputs.items())


def _output_parameters(tensor: dict[str, Any]) -> dict[str, Any]:
    parameters = _object(tensor, "parameters")
    where = f"output {tensor['name']}: "
    require_known(tensor, ("name", "parameters"), where)
    require_known(parameters, ("binary_data", CONTENT_TYPE), f"{where}parameters: ")
    require_plain(parameters)
    return parameters


def _flag(parameters: dict[str, Any], key: str, default: bool) -> bool:
    value = parameters.get(key, default)
    if not isinstance(value, bool):
        raise ProblemError(400, f"{key} is neither true nor false")
    return value


def _candidates(parameters: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the candidates: a string with spaces (the protocol has no lists here), or a list."""
    candidates = parameters.get("candidates")
    if isinstance(candidates, str):
        return read_candidates({"candidates": candidates.split()})
    return read_candidates(parameters)


def _timeout(parameters: dict[str, Any]) -> float | None:
    """Return the timeout in seconds (None: none); clients send microseconds, 0 for none."""
    value = parameters.get("timeout", 0)
    if type(value) is not int or value < 0:
        raise ProblemError(400, "timeout is not a whole number of microseconds")
    return min(value, LONGEST) / MICROSECONDS if value else None


def _routes() -> Iterator[Operation]:
    yield Operation("GET", "/v2", server_metadata, "ServerMetadata", [401])
    yield Operation("GET", "/v2/health/live", live, "Live")
    yield Operation("GET", "/v2/health/ready", ready, "Ready", [503])
    problems = sorted({404, *ASKING})
    for path in MODEL, MODEL_VERSION:
        yield Operation("GET", path, model_metadata, "ModelMetadata", [401, 404])
        yield Operation("GET", f"{path}/ready", model_ready, "ModelReady", [401, 404, 503])
        yield Operation("POST", f"{path}/infer", infer, "Inferred", problems, "Inference")


ROUTES = list(_routes())
