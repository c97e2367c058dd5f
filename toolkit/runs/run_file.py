"""Run files: a header line, then one line per measured cell; lines are appended, never rewritten.

Format history:
1 (first): closed loop, raw latencies in milliseconds, CPU by process tree.
2: open loop; raw times packed (:mod:`.packing`); a cell lists the causes that make it doubtful
   (``warnings``, for other programs: this reader derives them again from the figures).
3: for searches: a cell records its ``stage``, and in ``asked`` the server settings that are not the
   usual ones; before, the number of the repeat encoded both.  The last line of a finished search is
   ``end``.  A sweep's file needs none of these (its plan says which cells make it complete), so it
   is still written as format 2.
4 and 5: as 2 (a sweep's) and 3 (a search's), with a checksum at the end of every line
   (:mod:`.lines`): figures that were changed after they were measured are not read.
   What is not known of a running server's CPU and memory is null; before, it was written as 0.
6 and 7: as 4 and 5; a cell may have ``stages``, the header ``command`` and ``commit``; lines of
   ``evidence`` hold what was measured beside the cells.  An unfinished file of formats 4 and 5 is
   gone on with: what is appended to it is as it is now.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import UnusableInputError
from ..machine import digest
from .cell import Cell
from .lines import append_line, checksum, encoded, read_lines, seal
from .load import Load
from .packing import pack, unpack
from .point import Point
from .validity import Warn, doubts

__all__ = [
    "SEARCH_FORMAT", "SWEEP_FORMAT", "Cell", "Header", "HeldError", "Run", "Warn",
    "append_cell", "append_evidence", "as_read", "create_run", "end_run", "locked",
    "read_header", "read_run",
]  # fmt: skip

SWEEP_FORMAT, SEARCH_FORMAT = 6, 7
SEALED = (4, 5, 6, 7)  # their lines have checksums
EARLIER = {2: SWEEP_FORMAT, 3: SEARCH_FORMAT, 4: SWEEP_FORMAT, 5: SEARCH_FORMAT}  # gone on with
READABLE = (1, 2, 3, 4, 5, 6, 7)
ORIGIN = ("command", "commit")  # not written if they are not known
PACKED = ("latencies_ms", "ends_ms", "late_ms")
LOAD = tuple(entry.name for entry in fields(Load))
# The order of a cell's first fields; it has always been this one.
FIRST = (
    "variant", "stack", "users", "seconds", "latencies_ms", "started", "mode", "rate", "tokens",
    "batch", "cores", "repeat",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What all cells of a run have in common.

    ``variants`` maps a variant's name to its digest, sizes, summary and gate result; ``command`` is
    the command line that began the run, ``commit`` the one that the tool was of (empty: unknown).
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
    format: int = SWEEP_FORMAT
    command: Sequence[str] = ()
    commit: str = ""

    @property
    def sealed(self) -> bool:
        """Whether every line of the file ends with a checksum."""
        return self.format in SEALED

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a run to be resumed: what and where, not who and when."""
        data = asdict(self) | {"format": EARLIER.get(self.format, self.format)}
        for key in ("run", "started", "seed", *ORIGIN):
            del data[key]
        digests = {name: entry["digest"] for name, entry in self.variants.items()}
        return data | {"variants": digests}


@dataclass(frozen=True)
class Run:
    """A run file's content: its header, and its cells in the order they were measured.

    ``cells`` has the last attempt at each point; earlier ones are in ``superseded``.  ``is_ended``
    says whether a search is finished.  ``evidence`` is what was measured beside the cells, by name
    (docs/formats.md); empty in older runs.
    """

    header: Header
    cells: tuple[Cell, ...]
    superseded: tuple[Cell, ...] = ()
    is_ended: bool = False
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def create_run(path: Path, header: Header) -> None:
    """Start a run file with its header line; raise UnusableInputError if it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("x", encoding="utf-8") as stream:
            data = {"kind": "run", "format": header.format, **asdict(header)}
            line = encoded({k: v for k, v in data.items() if v or k not in ORIGIN})
            stream.write(seal(line) if header.sealed else line)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(beside, path)  # atomic: the complete file or none; never replaces another file
    except FileExistsError:
        raise UnusableInputError(f"run file {path} exists already") from None
    finally:
        beside.unlink(missing_ok=True)


class HeldError(UnusableInputError):
    """Another process has locked a run file."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a run file; raise HeldError if another process has locked it."""
    import fcntl

    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeldError(f"another process is measuring into {path}") from None
        yield


def append_cell(path: Path, cell: Cell, sealed: bool = True) -> None:
    """Append one cell and force it to the disk; a torn last line is cut off first.

    ``sealed``: the file's lines have checksums (see :attr:`Header.sealed`).
    """
    append_line(path, _as_json(cell), sealed)


def append_evidence(path: Path, name: str, found: Mapping[str, Any], sealed: bool = True) -> None:
    """Append what was measured beside the cells; what has the same name is added to."""
    append_line(path, {"kind": "evidence", "name": name, "found": dict(found)}, sealed)


def end_run(path: Path, sealed: bool = True) -> None:
    """Append the line that says that a search is finished."""
    append_line(path, {"kind": "end"}, sealed)


def as_read(cell: Cell, header: Header) -> Cell:
    """Return a cell as a reader of the file will get it: times rounded, machine compared."""
    data = json.loads(encoded(_as_json(cell)))
    del data["kind"]
    return _cell(data, digest(header.machine))


def _as_json(cell: Cell) -> dict[str, Any]:
    seen = asdict(cell)
    del seen["point"]
    for name in PACKED:
        seen[name] = pack(seen[name])
    warnings = [asdict(warn) for warn in doubts(cell)]
    if not seen["stages"]:
        del seen["stages"]
    first = dict.fromkeys(FIRST) | _flat(cell.point)
    return {"kind": "cell", **first, **seen, "warnings": warnings}


def _flat(point: Point) -> dict[str, Any]:
    """Return a point's fields in the form of a line of the file."""
    load = {"mode": point.load.mode, **asdict(point.load)}
    data = {"variant": point.variant, "stack": point.stack, **load, "repeat": point.repeat}
    if point.stage or point.settings:
        data |= {"stage": point.stage, "asked": dict(point.settings)}
    return data


def read_run(path: Path) -> Run:
    """Read a run file; a torn last line (an interrupted write) is ignored.

    Raises UnusableInputError naming the line that cannot be read.
    """
    try:
        return _run(path, read_lines(path))
    except OSError as error:
        raise UnusableInputError(f"run file {path} cannot be read: {error.strerror}") from None


def read_header(path: Path) -> Header:
    """Read a run file's first line alone; raise UnusableInputError if it is no header."""
    try:
        return _run(path, islice(read_lines(path), 1)).header
    except OSError as error:
        raise UnusableInputError(f"run file {path} cannot be read: {error.strerror}") from None


def _run(path: Path, lines: Iterable[tuple[int, str]]) -> Run:
    header: Header | None = None
    cells: list[Cell] = []
    evidence: dict[str, dict[str, Any]] = {}
    is_ended = False
    last_sum, machine = 0, ""
    for number, line in lines:
        try:
            data = json.loads(line)
            kind = data.pop("kind")
            if header.sealed if header else data.get("format") in SEALED:
                last_sum = checksum(line, last_sum)
                del data["crc32"]
            if kind == "run" and number == 1:
                header = _header(data)
                machine = digest(header.machine)
            elif kind == "cell" and header is not None and not is_ended:
                cells.append(_cell(data, machine))
            elif kind == "evidence" and header is not None and not is_ended:
                evidence.setdefault(str(data["name"]), {}).update(data["found"])
            elif kind == "end" and header is not None and not is_ended:
                is_ended = True
            else:
                raise ValueError(f"a {kind!r} line has no place here")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnusableInputError(f"run file {path}, line {number}: {error}") from None
    if header is None:
        raise UnusableInputError(f"run file {path} has no header: it was never begun")
    last = {cell.point: cell for cell in cells}
    counted = tuple(cell for cell in cells if last[cell.point] is cell)
    superseded = tuple(cell for cell in cells if last[cell.point] is not cell)
    return Run(header, counted, superseded, is_ended, evidence)


def _header(data: dict[str, Any]) -> Header:
    if (version := data["format"]) not in READABLE:
        raise ValueError(f"format {version}, this version reads {READABLE[0]} to {READABLE[-1]}")
    return Header(**data)


def _cell(data: dict[str, Any], machine: str) -> Cell:
    data.pop("warnings", None)
    for name in PACKED:
        if isinstance(data.get(name), dict):
            data[name] = unpack(data[name])
    cell = Cell(_point(data), **data)
    if cell.machine and cell.machine != machine:
        return replace(cell, changes=tuple(dict.fromkeys([*cell.changes, "fingerprint"])))
    return cell


def _point(data: dict[str, Any]) -> Point:
    """Remove a point's fields from a line and return the point; raise TypeError if invalid."""
    data.pop("mode", None)  # the load implies it
    load = Load(**{name: data.pop(name) for name in LOAD if name in data})
    settings = tuple(data.pop("asked", {}).items())
    names = [name for name in ("variant", "stack", "repeat", "stage") if name in data]
    point = Point(load=load, settings=settings, **{name: data.pop(name) for name in names})
    hash(point)
    return point
