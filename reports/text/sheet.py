"""A sheet: the answer on one page of paper."""

from __future__ import annotations

from dataclasses import dataclass

from .decision import Decision
from .tables import Line, Table


@dataclass(frozen=True)
class Sheet:
    """What stands on one page, from top to bottom, in one language.

    Args:
        decision: the card.
        table: the candidates, the best first; what does not fit is counted by ``more``.
        lines: what else the answer says, with labels.
        label: the heading of the commands.
        commands: lines for a shell.
        caveat: what the model cannot tell; "" if nothing.
        provenance: which runs it is from.
        more: says how many rows are left out, with the placeholder ``{more}``.

    """

    decision: Decision
    table: Table
    lines: tuple[Line, ...]
    label: str
    commands: tuple[str, ...]
    caveat: str
    provenance: str
    more: str
