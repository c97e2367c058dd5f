"""Capacity: the highest load that meets an objective, found by short probes, then confirmed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...toolkit.console import say
from ...toolkit.errors import GateFailedError
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.load import CLOSED, OPEN, REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.slo import Slo
from ...toolkit.stats import interval, variation
from ..sweep.ground import Ground, new_header
from ..sweep.measure import Window
from ..sweep.session import Session, runs_folder
from .bisection import Bracket, highest
from .trust import UnconfirmedError, believe, require_sound, trusted

PROBE, CONFIRMATION = "probe", "confirmation"  # stages
CONFIRMATIONS = 3
BACKWARDS = 0.9  # a load that was not confirmed is multiplied by this
RETREATS = 6
MOST_USERS, MOST_RATE = 1024, 4096.0
FIRST_RATE = 8.0


class NotHeldError(GateFailedError):
    """No load meets the objective (exit code 1)."""


@dataclass(frozen=True)
class CapacityTerms:
    """What to search for, and how many seconds a probe and a confirming run take."""

    slo: Slo
    mode: str = CLOSED
    probe_seconds: float = 8.0
    confirm_seconds: float = 20.0
    warmup_seconds: float = 2.0
    stack: str = REFERENCE_STACK

    def load(self, level: float) -> Load:
        """Return the load of a level: users (closed loop) or requests per second (open loop)."""
        return Load(0, level) if self.mode == OPEN else Load(int(level))

    def window(self, stage: str, seed: int, attempt: int) -> Window:
        """Return the measurement window of a stage."""
        seconds = self.probe_seconds if stage == PROBE else self.confirm_seconds
        return Window(seconds, self.warmup_seconds, seed=seed, attempt=attempt)

    def as_json(self) -> dict[str, Any]:
        """Return the terms as a JSON object."""
        data = {k: v for k, v in asdict(self).items() if k != "slo"}
        return data | {"name": "capacity", "slo": self.slo.text}


@dataclass(frozen=True)
class Capacity:
    """The confirmed load and its QPS with the 95 % interval from the confirming runs.

    ``load`` is users (closed loop) or requests per second (open loop).  ``failed_load`` is the
    lowest load that did not hold (None: every load held).  In an open loop ``high`` reaches up to
    it, because the true capacity lies between the load that held and the one that failed.
    """

    variant: str
    slo: str
    mode: str
    load: float
    failed_load: float | None
    qps: float
    low: float
    high: float
    cells: tuple[Cell, ...]
    run: Path

    def as_json(self) -> dict[str, Any]:
        """Return the capacity as a JSON object."""
        names = ("variant", "slo", "qps", "low", "high", "mode", "load", "failed_load")
        return {name: getattr(self, name) for name in names} | {"run": str(self.run)}


def capacity(variant: str, terms: CapacityTerms, ground: Ground) -> Capacity:
    """Search, confirm, and return the capacity; an interrupted search is resumed.

    Raises NotHeldError if no load meets the objective, UnconfirmedError if a
    probe or a confirming run cannot be trusted.
    """
    header = new_header("capacity", terms.as_json() | ground.as_json(), ground, is_search=True)
    with Session.resume_or_begin("capacity", header, runs_folder()) as session:
        if session.is_resumed:
            say(f"capacity: going on with {session.path} ({len(session.cells)} cells are there)")
        try:
            result = _Hunt(variant, terms, session, ground).result()
        except (NotHeldError, UnconfirmedError):
            session.finish()  # a failed search is complete, too: the next one begins anew
            raise
        session.finish()
        return result


@dataclass(frozen=True)
class _Hunt:
    """One search; cells that its session has are not measured again."""

    variant: str
    terms: CapacityTerms
    session: Session
    ground: Ground

    def result(self) -> Capacity:
        is_open = self.terms.mode == OPEN
        first, most = (FIRST_RATE, MOST_RATE) if is_open else (1, MOST_USERS)
        bracket = highest(self._holds, first, most, whole=not is_open)
        lowest = bracket.failed
        denied: tuple[Cell, ...] = ()
        for _ in range(RETREATS):
            if bracket.held is None:
                break
            repeats = range(1, CONFIRMATIONS + 1)
            cells = tuple(self._cell(bracket.held, CONFIRMATION, repeat) for repeat in repeats)
            if self._confirms(cells):
                return self._capacity(bracket, cells)
            say(f"capacity: {self._shown(bracket.held)} was not confirmed by longer runs")
            denied = cells
            bracket = Bracket(self._lower(bracket.held), bracket.held)
            lowest = None
        if lowest is not None:
            denied = (self._cell(lowest, PROBE),)
        for cell in denied:
            require_sound(cell)
        raise NotHeldError(
            f"{self.variant}: no load could be confirmed to hold {self.terms.slo.text}"
            if lowest is None
            else f"{self.variant} does not hold {self.terms.slo.text} even at {self._shown(lowest)}"
        )

    def _lower(self, load: float) -> float | None:
        if self.terms.mode == OPEN:
            return load * BACKWARDS
        return float(min(int(load) - 1, int(load * BACKWARDS))) if load > 1 else None

    def _holds(self, load: float) -> bool:
        cell = self._cell(load, PROBE)
        held = self.terms.slo.held(cell)
        word = "holds" if held else "does not hold"
        say(f"capacity: {self._shown(load)}: {cell.qps:.4g} QPS, {word}")
        return held

    def _confirms(self, cells: tuple[Cell, ...]) -> bool:
        for cell in cells:
            believe(cell, held=self.terms.slo.held(cell))
        is_met = self.terms.slo.kept(cells)
        if is_met is None:
            raise UnconfirmedError(
                f"too few answers for {self.terms.slo.text}: measure longer (--seconds)"
            )
        return is_met

    def _capacity(self, bracket: Bracket, cells: tuple[Cell, ...]) -> Capacity:
        rates = [cell.qps for cell in cells]
        low, high = interval(rates, variation([rates])) or (min(rates), max(rates))
        qps = sum(rates) / len(rates)
        if self.terms.mode == OPEN and bracket.failed is not None:
            high = max(high, bracket.failed)
        assert bracket.held is not None
        number = float if self.terms.mode == OPEN else int
        failed = None if bracket.failed is None else number(bracket.failed)
        return Capacity(
            self.variant, self.terms.slo.text, self.terms.mode, number(bracket.held), failed,
            round(qps, 3), round(low, 3), round(high, 3), cells, self.session.path,
        )  # fmt: skip

    def _cell(self, level: float, stage: str, repeat: int = 1) -> Cell:
        """Return the cell of a level; measure it if it is missing or cannot be believed."""
        point = Point(self.variant, self.terms.stack, self.terms.load(level), repeat, stage)

        def measure(attempt: int) -> Cell:
            window = self.terms.window(stage, self.session.header.seed, attempt)
            return self.session.append(self.ground.measure(point, window))

        return trusted(self.session.get(point), measure, self.terms.slo.held)

    def _shown(self, load: float) -> str:
        return f"{load:.4g} requests/s" if self.terms.mode == OPEN else f"{load:.0f} users"
