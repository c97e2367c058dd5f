"""The greeting: a running server is asked a few sentences before anything is built or measured."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from ...toolkit.engines.predictor import Ranking
from ...toolkit.errors import UnusableInputError
from .recorder import wrong_answer
from .target import Target

SENTENCES = 8  # enough to tell another model, and asked in less than the start of a server takes
PATIENCE = 30.0  # seconds, as the server's own deadline
MOST_BYTES = 1 << 20  # of an answer


@dataclass(frozen=True)
class Greeting:
    """What a running server answered: the name of its variant (empty: not told), the bodies.

    ``model`` is what it says of the variant's model: ``name`` and ``parameters``, if anything.
    """

    target: Target
    variant: str
    answers: Mapping[str, bytes]
    model: Mapping[str, Any] = field(default_factory=dict)

    def require(
        self,
        variant: str,
        expected: Mapping[str, Ranking] | None = None,
        parameters: int | None = None,
    ) -> None:
        """Raise UnusableInputError if the server serves another variant or model, or errs.

        ``expected`` has the right ranking by text (None: not known yet), ``parameters`` is the size
        of the model (None: not known).  A grown model answers as the small one does.
        """
        size = self.model.get("parameters")
        if parameters and isinstance(size, int) and size != parameters:
            raise UnusableInputError(
                f"{self.target.url} serves {variant} of another model: {self.model.get('name')} has"
                f" {size:,} parameters, not {parameters:,}"
            )
        if self.variant not in ("", variant):
            raise UnusableInputError(
                f"{self.target.url} serves {self.variant}, not {variant}: name what it serves"
            )
        if expected is None:
            return
        for text, body in self.answers.items():
            if fault := wrong_answer(text, body, [expected[text]]):
                raise UnusableInputError(
                    f"{self.target.url} does not answer as {variant} does ({fault}): it serves"
                    " another model or variant"
                )


def greet(
    target: Target, texts: Sequence[str], variant: str = "", *, batch: bool = False
) -> Greeting:
    """Ask a server the first few texts, one at a time, and with ``batch`` several at once.

    Raises UnusableInputError, which says what is wrong, if nobody answers, if a key is wanted, if
    the answers are not those of a fill-mask server, or if it serves another variant than
    ``variant`` (empty: any).
    """
    bodies = {text: _ask(target, "/predict", {"text": text}) for text in texts[:SENTENCES]}
    names = set()
    for body in bodies.values():
        data = _parsed(target, "/predict", body)
        if not _is_answer(data):
            raise _no_answer(target, "/predict", body)
        names.add(str(data.get("variant", "")))
    if batch:
        body = _ask(target, "/predict/batch", {"texts": list(texts[:2])})
        answers = _parsed(target, "/predict/batch", body).get("predictions")
        if not isinstance(answers, list) or not all(map(_is_answer, answers)):
            raise _no_answer(target, "/predict/batch", body)
    if len(names) > 1:
        raise UnusableInputError(
            f"{target.url} serves several variants: {', '.join(sorted(names))}"
        )
    name = names.pop()
    greeting = Greeting(target, name, bodies, _model(target, name))
    if variant:
        greeting.require(variant)
    return greeting


def _model(target: Target, variant: str) -> dict[str, Any]:
    """Return what a server says of its variant's model; nothing if it is another server."""
    try:
        with target.ask(f"/v2/models/{quote(variant)}", timeout=PATIENCE) as response:
            model = json.loads(response.read(MOST_BYTES))["model"]
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return {}
    return model if isinstance(model, dict) else {}


def _ask(target: Target, path: str, question: object) -> bytes:
    try:
        with target.ask(path, question, timeout=PATIENCE) as response:
            body: bytes = response.read(MOST_BYTES)
    except HTTPError as error:
        raise UnusableInputError(_refusal(target, path, error)) from None
    except (OSError, HTTPException, ValueError) as error:
        raise UnusableInputError(_silence(target, error)) from None
    return body


def _refusal(target: Target, path: str, error: HTTPError) -> str:
    url, status = target.url, error.code
    if status in (401, 403) and not target.access.headers:
        return f"{url} wants a key (HTTP {status}): give it with --api-key-file or --header"
    if status in (401, 403):
        return f"{url} does not take the key that was sent (HTTP {status})"
    if status in (404, 405):
        return f"{url} has no {path} (HTTP {status}): give the URL of a fill-mask server"
    if 300 <= status < 400:
        return f"{url}{path} moved (HTTP {status}): give the URL {error.headers.get('Location')}"
    return f"{url}{path} answers HTTP {status}{_detail(error)}"


def _detail(error: HTTPError) -> str:
    """Return the detail that a problem's body tells, if it is one."""
    try:
        return f": {json.loads(error.read(MOST_BYTES))['detail']}"
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return ""


def _silence(target: Target, error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"{target.url}: its certificate is not trusted ({reason.verify_message}): name its"
            " authority with --cacert, or take any with --insecure"
        )
    if isinstance(reason, ssl.SSLError):
        return f"{target.url} does not speak TLS as it should ({reason.reason or reason})"
    if isinstance(reason, TimeoutError):
        return f"{target.url} gives no answer within {PATIENCE:.0f} s"
    if isinstance(reason, OSError):
        return f"nobody answers at {target.url}: {reason.strerror or reason}"
    return f"{target.url} does not speak HTTP as it should ({reason!r})"


def _parsed(target: Target, path: str, body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body)
    except ValueError:
        raise _no_answer(target, path, body) from None
    if not isinstance(data, dict):
        raise _no_answer(target, path, body)
    return data


def _is_answer(data: object) -> bool:
    """Tell whether this is an answer to one sentence: tokens with their scores."""
    results = data.get("results") if isinstance(data, dict) else None
    return (
        isinstance(results, list)
        and bool(results)
        and all(
            isinstance(entry, dict)
            and isinstance(entry.get("token"), str)
            and isinstance(entry.get("score"), int | float)
            for entry in results
        )
    )


def _no_answer(target: Target, path: str, body: bytes) -> UnusableInputError:
    seen = body[:60].decode("utf-8", "replace").replace("\n", " ")
    return UnusableInputError(
        f"{target.url}{path} does not answer as a fill-mask server should: {seen!r}"
    )
