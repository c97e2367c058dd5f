"""Request bodies: read with a limit, parsed strictly, checked by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from ...toolkit.engines.outputs import DEPTH, TOP
from .problems import CLOSE, ProblemError

OPTIONS = ("top_k", "candidates")
WHOLE = "body_is_whole"  # of the scope's state: whether the server has all of the body
SHOWN = 80  # characters of a client's word in a problem


@dataclass(frozen=True)
class Question:
    """What one request asks: sentences, ``top_k`` tokens for each [MASK], candidate tokens."""

    texts: tuple[str, ...]
    top_k: int = TOP
    candidates: tuple[str, ...] | None = None


async def read_body(request: Request, limit: int, until: float) -> bytes:
    """Return the request's body.

    Raises a 413 problem for more than ``limit`` bytes, without reading the rest, and a 408 problem
    if the body is not complete at ``until`` (seconds on the event loop's clock).
    """
    if request.scope.get("state", {}).get(WHOLE):  # nothing to wait for
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        content: bytes = message["body"]
        if len(content) > limit:
            raise too_large(limit)
        return content
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
        raise too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout_at(until):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    raise too_large(limit)
                body += chunk
    except TimeoutError:
        raise ProblemError(408, "the body did not arrive in time", CLOSE) from None
    return bytes(body)


def too_large(limit: int, what: str = "the body has") -> ProblemError:
    """Return the problem of a body of more than ``limit`` bytes."""
    # Closing the connection keeps the rest of the body from being read at all.
    return ProblemError(413, f"{what} more than {limit} bytes", CLOSE, values={"most": limit})


def parse_question(body: bytes) -> Question:
    """Return the question in a /predict body; raise a 400 problem if the body is not valid."""
    data = parse_object(body)
    require_known(data, ("text", *OPTIONS))
    return Question((_string(data, "text"),), read_top_k(data), read_candidates(data))


def parse_batch(body: bytes, max_texts: int) -> Question:
    """Return the question in a /predict/batch body.

    Raises a 400 problem if the body is not valid, a 422 problem for more than ``max_texts`` texts.
    """
    data = parse_object(body)
    require_known(data, ("texts", *OPTIONS))
    texts = _strings(data, "texts")
    if len(texts) > max_texts:
        raise too_many_texts("texts", len(texts), max_texts)
    return Question(texts, read_top_k(data), read_candidates(data))


def too_many_texts(field: str, texts: int, most: int) -> ProblemError:
    """Return the problem of a request with more texts than allowed."""
    detail = f"{field} has {texts} items, more than {most}"
    values = {"texts": texts, "most": most}
    return ProblemError(422, detail, code="too_many_texts", values=values)


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; raise a 400 problem if the body is anything else."""
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            raise json.JSONDecodeError("Unexpected UTF-8 BOM (decode using utf-8-sig)", text, 0)
        data = DECODER.decode(text)
    except RecursionError:
        raise ProblemError(400, "the body is not usable JSON: nested too deeply") from None
    except ValueError as error:
        raise ProblemError(400, f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ProblemError(400, "the body is not a JSON object")
    return data


def require_known(data: Collection[str], known: Collection[str], where: str = "") -> None:
    """Raise a 400 problem that names the first field that is not known; ``where`` precedes it.

    This is the one rule of all routes: nothing that a client asks for is passed over in silence.
    """
    for key in data:
        if key not in known:
            shown = key[:SHOWN]
            raise ProblemError(
                400,
                f"{where}unknown field {shown!r}; known: {', '.join(known)}",
                code="unknown_field",
                values={"field": shown},
            )


def _require_unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {key!r} appears twice")
        data[key] = value
    return data


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


# ``json.loads`` would make one for every body.
DECODER = json.JSONDecoder(object_pairs_hook=_require_unique, parse_constant=_refuse_constant)


def _string(data: dict[str, Any], key: str) -> str:
    if key not in data:
        raise ProblemError(400, f"{key} is missing")
    return checked(data[key], key)


def _strings(data: dict[str, Any], key: str) -> tuple[str, ...]:
    if key not in data:
        raise ProblemError(400, f"{key} is missing")
    if not isinstance(data[key], list) or not data[key]:
        raise ProblemError(400, f"{key} is not a list of at least one string")
    return tuple(checked(item, f"{key}[{index}]") for index, item in enumerate(data[key]))


def checked(value: object, name: str) -> str:
    """Return a usable string unchanged; for any other value raise a 400 problem with ``name``."""
    if not isinstance(value, str):
        raise ProblemError(400, f"{name} is not a string")
    if "\0" in value:
        raise ProblemError(400, f"{name} has a null character", code="null_character")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        detail = f"{name} is not valid Unicode: it has half a surrogate"
        raise ProblemError(400, detail, code="half_surrogate") from None
    return value


def read_top_k(data: dict[str, Any]) -> int:
    """Return the number of tokens asked for; raise a 400 problem unless it is in 1..DEPTH."""
    value = data.get("top_k", TOP)
    # type(), not isinstance(): isinstance(True, int) is true.
    if type(value) is not int or not 1 <= value <= DEPTH:
        raise ProblemError(400, f"top_k is not a whole number in 1..{DEPTH}")
    return value


def read_candidates(data: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the tokens to rank (None: all); raise a 400 problem for anything but a string list."""
    return _strings(data, "candidates") if "candidates" in data else None
