"""Points: what is measured, a variant behind a stack under a load, once or in repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .load import REFERENCE_STACK, Load


@dataclass(frozen=True)
class Point:
    """One thing to measure; it is the key of its cell.

    ``stage`` says for which step of a search it is measured (a sweep has none), ``settings`` what
    the server is told beyond its usual settings, by name.
    """

    variant: str
    stack: str
    load: Load
    repeat: int = 1
    stage: str = ""
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def gathered(self) -> Point:
        """The point of a table's row: whatever the repeat, the stage and the settings."""
        return replace(self, repeat=1, stage="", settings=())

    def __str__(self) -> str:
        """Return the point in a few words, without repeat, stage and settings."""
        stack = "" if self.stack == REFERENCE_STACK else f" on the {self.stack}'s server"
        return f"{self.variant}{stack}, {self.load}"
