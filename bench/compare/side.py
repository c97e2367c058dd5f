"""Contenders: the two sides of ``compare``, from a few words to a running server.

onnx-int8                          a variant behind the reference server
onnx-int8@streams=2,threads=1      with settings of its own
onnx-fp32@stack=article            behind the article's server
onnx-int8@stack=ray,replicas=2     behind Ray Serve
http://127.0.0.1:8080              a server that already runs
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ...server.settings import Settings, Stack, known_stack, table
from ...toolkit.building.folders import Built
from ...toolkit.errors import UnusableInputError
from ...toolkit.machine import allowed_cpus
from ...toolkit.runs.load import ARTICLE_STACK, RAY_STACK, REFERENCE_STACK
from ..load.target import OPEN, Access, Target
from ..serving.served import Served, running, serve
from .revisions import Revision
from .rounds import Opener

SERVER_NUMBERS = tuple(row.name for row in table("speed") if row.kind is int)
NUMBERS = (*SERVER_NUMBERS, "replicas", "cores")
STACKS = (REFERENCE_STACK, ARTICLE_STACK, RAY_STACK)


@dataclass(frozen=True)
class Contender:
    """One side of a comparison: a variant with settings, of a revision or this code; or a URL."""

    name: str
    variant: str = ""
    target: Target | None = None
    stack: str = REFERENCE_STACK
    settings: Mapping[str, int] = field(default_factory=dict)
    revision: str = ""

    @property
    def label(self) -> str:
        """Its name in tables and in JSON."""
        return f"{self.name} ({self.revision})" if self.revision else self.name


def _require_cores(text: str, cores: int) -> None:
    allowed = len(allowed_cpus())
    if cores > allowed:
        raise UnusableInputError(f"{text!r}: there are {allowed} cores, not {cores}")


def parse_contender(text: str, access: Access = OPEN) -> Contender:
    """Return the contender that ``VARIANT[@KEY=VALUE,...]`` or a URL names.

    ``access`` is how a URL's server is asked.  Raises UnusableInputError for an unknown key or
    a value that is not allowed.
    """
    if text.startswith(("http://", "https://")):
        return Contender(text, target=access.to(text))
    variant, _, rest = text.partition("@")
    if not variant:
        raise UnusableInputError(f"{text!r} names no variant")
    settings: dict[str, int] = {}
    stack = REFERENCE_STACK
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key == "stack" and value in STACKS:
            stack = value
        elif key in NUMBERS and value.isdecimal() and int(value) > 0:
            settings[key] = int(value)
        else:
            raise UnusableInputError(
                f"{text!r}: {part!r} is none of stack={'|'.join(STACKS)},"
                f" {', '.join(f'{number}=N' for number in NUMBERS)}"
            )
    _require_cores(text, settings.get("cores", 1))
    if stack == ARTICLE_STACK and settings.keys() & set(SERVER_NUMBERS):
        raise UnusableInputError(f"{text!r}: the article's server has none of these settings")
    if stack != RAY_STACK and "replicas" in settings:
        raise UnusableInputError(f"{text!r}: replicas are for stack={RAY_STACK}")
    return Contender(text, variant, stack=stack, settings=settings)


def opener(contender: Contender, built: Built | None, revision: Revision | None) -> Opener:
    """Return a function that starts a contender's server, of a revision or of a built variant."""
    if contender.target is not None:
        return partial(running, contender.target)
    if revision is not None:
        return partial(revision.serve, contender.variant, contender.stack, contender.settings)
    assert built is not None
    stack: Stack = known_stack(contender.stack)
    cores = contender.settings.get("cores")
    return partial(_serve_same, built, stack, settings_of(contender, built), cores)


def _serve_same(
    built: Built, stack: Stack, settings: Settings, cores: int | None
) -> AbstractContextManager[Served]:
    """Serve a variant; raise UnusableInputError if another command built it anew meanwhile."""
    built.require_same()
    return serve(stack, settings, cores)


def settings_of(contender: Contender, built: Built) -> Settings:
    """Return the server settings of a contender whose variant was built by this code."""
    values: dict[str, Any] = {"replicas": 1} if contender.stack == RAY_STACK else {}
    values |= {name: value for name, value in contender.settings.items() if name != "cores"}
    return Settings(built.folder, **values)
