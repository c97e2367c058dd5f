"""Points: a variant, served by a stack, under a load; each repeat is a point of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .load import REFERENCE_STACK, Load


@dataclass(frozen=True)
class Point:
    """One thing to measure; it is the key of its cell.

    ``stage`` is the step of the search that measures it (empty in a sweep).  ``settings`` are the
    server settings that are not the usual ones, as pairs of name and value.
    """

    variant: str
    stack: str
    load: Load
    repeat: int = 1
    stage: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def gathered(self) -> Point:
        """The point without repeat, stage and settings: one row of a table."""
        return replace(self, repeat=1, stage="", settings=())

    def __str__(self) -> str:
        """Return a short description of the point, without repeat, stage and settings."""
        stack = "" if self.stack == REFERENCE_STACK else f" on the {self.stack}'s server"
        return f"{self.variant}{stack}, {self.load}"
