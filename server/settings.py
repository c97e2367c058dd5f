"""A server's settings: read once at its start, never changed.

:class:`Settings` is the only table of settings, a row for each field.  Everything else is derived
from it: both command lines, the arguments of a subprocess, a bundle's options, and which settings
each stack takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ..toolkit.errors import UnusableInputError
from ..toolkit.files import KIBIBYTE

Stack = Literal["reference", "article", "ray"]
Part = Literal["place", "speed", "requests", "connections", "replicas", "beside"]
"""The groups of settings.

All stacks take ``place``; the article's server takes nothing else.  ``speed`` may change the
throughput.  ``connections`` are for the reference server alone (Ray has its own), and so is
``beside``, a second variant; ``replicas`` are for Ray Serve.
"""
DEADLINE, BODY_LIMIT = "TIANKONG_DEADLINE", "TIANKONG_BODY_LIMIT"  # for retries.py


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Args:
        name: the field's name.
        default: the default value (MISSING if the setting is required).
        part: the group it belongs to.
        text: its help text, without the default.
        kind: the type of its values; ``float`` is a time in seconds.
        least: the least value of a whole number.
        most: the largest value of a whole number, if there is a limit.

    """

    name: str
    default: Any
    part: Part
    text: str
    kind: type
    least: int
    most: int | None

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def option(self) -> str:
        """Its name on a command line."""
        return "--variant-dir" if self.name == "folder" else f"--{self.name.replace('_', '-')}"

    @property
    def negated(self) -> str:
        """The option that turns it off."""
        return f"--no-{self.option.removeprefix('--')}"

    def argument(self, value: Any) -> str:
        """Return the command-line argument that sets it to a value."""
        if self.kind is bool:
            return self.option if value else self.negated
        return f"{self.option}={value.absolute() if isinstance(value, Path) else value}"

    def require(self, value: Any) -> None:
        """Raise UnusableInputError unless a value is allowed."""
        if self.kind is float:
            if not 0 < value < math.inf:
                raise UnusableInputError(f"{self.name} must be a number of seconds: {value}")
        elif self.kind is not int:
            return
        elif self.most is not None:
            if not self.least <= value <= self.most:
                raise UnusableInputError(
                    f"{self.name} must lie in {self.least}..{self.most}, not {value}"
                )
        elif value < self.least:
            raise UnusableInputError(
                f"{self.name} must be at least {self.least}, not {value}"
                if self.least
                else f"{self.name} must not be negative: {value}"
            )


def row(
    part: Part, text: str, kind: type, *, least: int = 0, most: int | None = None
) -> Mapping[str, Any]:
    """Return the metadata of a field of :class:`Settings`: its row without name and default."""
    return {"part": part, "text": text, "kind": kind, "least": least, "most": most}


def setting(part: Part, default: Any, text: str, **limits: int) -> Any:
    """Return a field of :class:`Settings` with a default; ``limits`` go to :func:`row`."""
    return field(default=default, metadata=row(part, text, type(default), **limits))


@dataclass(frozen=True)
class Settings:
    """How one variant is served; raises UnusableInputError for a value that is not allowed."""

    folder: Path = field(metadata=row("place", "a built variant", Path))
    host: str = setting("place", "127.0.0.1", "address to listen on")
    port: int = setting("place", 8080, "TCP port, 0 for any free one", most=65535)

    streams: int = setting("speed", 0, "batches inferred at the same time, 0: measured")
    threads: int = setting("speed", 0, "threads for one batch, 0: usable cores, shared")
    max_batch: int = setting("speed", 16, "sentences in one inference, 1: each alone", least=1)
    spin: bool = setting("speed", False, "ONNX Runtime's threads wait by spinning")
    cache: int = setting("speed", 0, "answers to remember for repeated questions")
    join: bool = setting("speed", False, "a sentence that is in flight already is not asked again")

    queue_limit: int = setting("requests", 256, "sentences that may wait for a stream")
    deadline: float = setting("requests", 30.0, "seconds from a request's arrival to its answer")
    body_limit: int = setting("requests", 64 * KIBIBYTE, "bytes of a request's body", least=1)
    batch_limit: int = setting("requests", 256, "texts in one batch request", least=1)
    access_log: bool = setting("requests", True, "a JSON line a request, on standard output")
    api_key_file: Path | None = field(
        default=None,
        metadata=row("requests", "file of keys, one a line; clients need one of them", Path),
    )

    connections: int = setting(
        "connections", 4096, "connections at a time, fewer where 'ulimit -n' is lower", least=1
    )
    head_deadline: float = setting("connections", 10.0, "seconds for the head of a request")
    drain_delay: float = setting(
        "connections", 1.0, "seconds to go on accepting connections after SIGTERM"
    )

    replicas: int = setting("replicas", 0, "processes behind Ray Serve")
    max_replicas: int = setting(
        "replicas", 0, "at most so many processes, started as the load grows, 0: as --replicas"
    )

    beside: Path | None = field(
        default=None,
        metadata=row("beside", "a second variant, for the page to compare with", Path),
    )

    def __post_init__(self) -> None:
        for entry in TABLE:
            entry.require(getattr(self, entry.name))
        if 0 < self.max_replicas < max(1, self.replicas):
            raise UnusableInputError(
                f"max_replicas ({self.max_replicas}) must not be less than replicas"
                f" ({self.replicas}), of which there is at least one"
            )

    @property
    def most_replicas(self) -> int:
        """The largest number of processes at the same time."""
        return max(1, self.replicas, self.max_replicas)

    @property
    def address(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def values(self, *parts: Part) -> dict[str, Any]:
        """Return the values of all settings in these parts, by name."""
        return {entry.name: getattr(self, entry.name) for entry in table(*parts)}

    def changed(self) -> list[Setting]:
        """Return the rows whose value is not the default, without the folder's."""
        return [
            entry
            for entry in TABLE
            if not entry.required and getattr(self, entry.name) != entry.default
        ]

    def arguments(self, *, place: bool = True) -> list[str]:
        """Return the arguments of ``python -m tiankong.server`` for these settings.

        Defaults are left out; ``place`` tells whether to include the folder, host and port.
        """
        changed = [entry for entry in self.changed() if entry.part != "place"]
        where = table("place") if place else []
        return [entry.argument(getattr(self, entry.name)) for entry in (*where, *changed)]


TABLE = tuple(Setting(entry.name, entry.default, **entry.metadata) for entry in fields(Settings))


def table(*parts: Part) -> list[Setting]:
    """Return the rows of these parts, in the order of the table."""
    return [entry for entry in TABLE if entry.part in parts]


def known_stack(name: str) -> Stack:
    """Return the stack of this name; raise UnusableInputError if there is none."""
    for stack in get_args(Stack):
        if name == stack:
            return cast(Stack, stack)
    raise UnusableInputError(f"unknown stack {name!r}; known: {', '.join(get_args(Stack))}")
