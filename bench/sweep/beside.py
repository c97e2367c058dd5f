"""Beside the cells: what a plan wants measured once, kept in the run file as evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...toolkit.console import say
from ...toolkit.errors import TiankongError
from ...toolkit.runs.evidence import LEFT_OUT
from .session import Session


@dataclass(frozen=True)
class Beside:
    """One thing to measure: the evidence's name, its key in it (empty: it is the whole)."""

    name: str
    key: str
    measure: Callable[[], Mapping[str, Any]]

    def is_in(self, session: Session) -> bool:
        """Tell whether the run has it already, or knows that it cannot be had."""
        found = session.evidence.get(self.name, {})
        return self.key in found if self.key else bool(found)

    def __str__(self) -> str:
        """Return what it is, for a progress line."""
        return f"{self.name} of {self.key}" if self.key else self.name


def measure_beside(session: Session, things: Sequence[Beside]) -> None:
    """Measure what the run lacks; what cannot be measured is left out with one line, for good."""
    for thing in things:
        if thing.is_in(session):
            continue
        say(f"evidence: {thing}")  # a line and no bar: building and checking have bars of their own
        found: Mapping[str, Any]
        try:
            found = thing.measure()
        except TiankongError as error:
            say(f"evidence: {thing} is left out: {error}")
            found = {LEFT_OUT: True}
        session.append_evidence(thing.name, {thing.key: dict(found)} if thing.key else found)
