"""Run files: a header line, then one line a measured cell, appended and never rewritten.

Format history: 1 (first): closed loop, raw latencies in milliseconds, CPU by process tree.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import UnusableInputError
from .stats import percentile

FORMAT = 1
MAX_FAILURE_SHARE = 0.001
GENERATOR_CPU_LIMIT = 90.0  # percent of one core: Locust is one process with one thread of Python
LITTLE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Warn:
    """One reason to doubt a cell: a code of a closed list, what was seen, what to try."""

    code: str
    seen: str
    advice: str
    invalidates: bool = False


@dataclass(frozen=True)
class Header:
    """Everything a run's cells have in common.

    ``variants`` maps a variant's name to its digest, sizes, summary and gate result.
    """

    run: str
    started: str
    tool: str
    model: Mapping[str, Any]
    gold: Mapping[str, Any]
    plan: Mapping[str, Any]
    seed: int
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    variants: Mapping[str, Mapping[str, Any]]

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a run to be continued: all but name, time and seed."""
        data = asdict(self)
        for key in ("run", "started", "seed"):
            del data[key]
        digests = {name: entry["digest"] for name, entry in self.variants.items()}
        return data | {"variants": digests}


@dataclass(frozen=True)
class Cell:
    """One measured point: a variant behind a server stack at a number of users.

    Latencies are those of right answers, in milliseconds, raw, in order of completion; ``seconds``
    is the measured window.  CPU figures are percent of the whole machine (all usable cores = 100).
    """

    variant: str
    stack: str
    users: int
    seconds: float
    latencies_ms: Sequence[float]
    started: str
    mode: str = "closed"
    repeat: int = 1
    warmup_seconds: float = 0.0
    failures: Mapping[str, int] = field(default_factory=dict)
    wrong: int = 0
    examples: Sequence[str] = ()
    server_cpu_percent: float = 0.0
    generator_cpu_percent: float = 0.0
    other_cpu_percent: float = 0.0
    generator_core_percent: float = 0.0
    steal_percent: float = 0.0
    resident_bytes: int = 0
    proportional_bytes: int | None = None
    start_seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What makes the cell unique in its run."""
        return (self.variant, self.stack, self.users, self.repeat)

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failures.values())

    @property
    def qps(self) -> float:
        """Right answers a second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def mean_ms(self) -> float:
        """Mean latency of right answers, NaN if there are none."""
        return (
            math.fsum(self.latencies_ms) / len(self.latencies_ms) if self.latencies_ms else math.nan
        )

    def percentile_ms(self, rank: int) -> float | None:
        """Return a latency percentile; failures and wrong answers count as infinitely slow."""
        return percentile(self.latencies_ms, rank, self.failed + self.wrong)

    def warnings(self) -> list[Warn]:
        """Return every reason to doubt this cell."""
        return [w for check in _CHECKS if (w := check(self)) is not None]

    @property
    def valid(self) -> bool:
        """Whether nothing invalidates the cell."""
        return not any(w.invalidates for w in self.warnings())


def _wrong(cell: Cell) -> Warn | None:
    if not cell.wrong:
        return None
    advice = "check the variant, then the server: an answer changed under load"
    return Warn("wrong-answers", f"{cell.wrong} wrong answers", advice, True)


def _failures(cell: Cell) -> Warn | None:
    total = len(cell.latencies_ms) + cell.failed + cell.wrong
    if not total:
        return Warn("no-requests", "no request was completed", "measure longer", True)
    if not cell.failed:
        return None
    seen = f"{cell.failed} of {total} requests failed ({', '.join(sorted(cell.failures))})"
    invalid = cell.failed / total > MAX_FAILURE_SHARE
    return Warn("failures", seen, "read the server's log, lower the load", invalid)


def _too_few(cell: Cell) -> Warn | None:
    if cell.percentile_ms(95) is not None:
        return None
    seen = f"{len(cell.latencies_ms)} answers are too few for a P95"
    return Warn("too-few", seen, "measure longer: a plan with more seconds")


def _generator(cell: Cell) -> Warn | None:
    if cell.generator_core_percent <= GENERATOR_CPU_LIMIT:
        return None
    seen = f"the generator used {cell.generator_core_percent:.0f} % of one core"
    return Warn("generator-saturated", seen, "generate the load from another machine", True)


def _busy(cell: Cell) -> Warn | None:
    if cell.other_cpu_percent <= 10:
        return None
    seen = f"other processes used {cell.other_cpu_percent:.0f} % of the machine"
    return Warn("machine-busy", seen, "stop them and measure again")


def _steal(cell: Cell) -> Warn | None:
    if cell.steal_percent <= 2:
        return None
    seen = f"the host took {cell.steal_percent:.0f} % of the machine away"
    return Warn("stolen", seen, "measure again, or on a dedicated host")


def _little(cell: Cell) -> Warn | None:
    if cell.mode != "closed" or cell.failed or not cell.latencies_ms:
        return None
    inside = cell.qps * cell.mean_ms / 1000
    if abs(inside - cell.users) <= LITTLE_TOLERANCE * cell.users:
        return None
    seen = f"QPS x mean latency is {inside:.2f}, not {cell.users} users (Little's law)"
    return Warn("little", seen, "the generator is too slow, or the window too short")


_CHECKS = (_wrong, _failures, _too_few, _generator, _busy, _steal, _little)


@dataclass(frozen=True)
class Run:
    """A run file's content: its header and its cells in the order they were measured."""

    header: Header
    cells: tuple[Cell, ...]


def create_run(path: Path, header: Header) -> None:
    """Start a run file with its header line; raise UnusableInputError if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(_line({"kind": "run", "format": FORMAT, **asdict(header)}))
    except FileExistsError:
        raise UnusableInputError(f"run file {path} exists already") from None


def append_cell(path: Path, cell: Cell) -> None:
    """Append one cell and force it to the disk; a torn last line is cut off first."""
    line = _line({"kind": "cell", **asdict(cell)}).encode()
    with path.open("r+b") as stream:
        content_end = stream.seek(0, os.SEEK_END)
        tail_start = max(0, content_end - 64 * 1024 * 1024)
        stream.seek(tail_start)
        tail = stream.read()
        if not tail.endswith(b"\n"):
            stream.truncate(tail_start + tail.rfind(b"\n") + 1)
        stream.seek(0, os.SEEK_END)
        stream.write(line)
        stream.flush()
        os.fsync(stream.fileno())


def _line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_run(path: Path) -> Run:
    """Read a run file; a torn last line (an interrupted write) is left out.

    Raises UnusableInputError naming the line that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnusableInputError(f"run file {path} cannot be read: {error.strerror}") from None
    *lines, _torn = text.split("\n")
    header: Header | None = None
    cells: list[Cell] = []
    for number, line in enumerate(lines, start=1):
        try:
            data = json.loads(line)
            kind = data.pop("kind")
            if kind == "run" and number == 1:
                if (version := data.pop("format")) != FORMAT:
                    raise ValueError(f"format {version}, this version reads {FORMAT}")
                header = Header(**data)
            elif kind == "cell" and header is not None:
                cells.append(Cell(**data))
            else:
                raise ValueError(f"a {kind!r} line has no place here")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableInputError(f"run file {path}, line {number}: {error}") from None
    if header is None:
        raise UnusableInputError(f"run file {path} has no header: it was never begun")
    return Run(header, tuple(cells))
