"""Sessions: a sweep or search that stores its cells in a run file and resumes where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

from ...toolkit.console import say
from ...toolkit.errors import UnusableInputError
from ...toolkit.files import artifacts
from ...toolkit.runs.cell import Cell
from ...toolkit.runs.point import Point
from ...toolkit.runs.run_file import (
    Header,
    HeldError,
    append_cell,
    append_evidence,
    as_read,
    create_run,
    end_run,
    locked,
    read_header,
    read_run,
)


class Session:
    """A run file that one process appends to; cells that it has are not measured again.

        with Session.resume_or_begin("capacity", header, folder) as session:
            cell = session.get(point) or session.append(ground.measure(point, window))
            session.finish()

    The file is read once, when the session is created, and is locked until the session is closed.
    New cells are also kept in memory, exactly as a reader of the file would get them.
    """

    def __init__(self, path: Path, *, is_resumed: bool = False) -> None:
        self._lock = ExitStack()
        self._lock.enter_context(locked(path))
        try:
            run = read_run(path)
        except UnusableInputError:
            self._lock.close()
            raise
        self.path, self.header, self.is_ended = path, run.header, run.is_ended
        self.is_resumed = is_resumed
        self._cells = {cell.point: cell for cell in run.cells}
        self._evidence = {name: dict(found) for name, found in run.evidence.items()}

    @classmethod
    def resume_or_begin(
        cls,
        command: str,
        header: Header,
        folder: Path,
        is_left: Callable[[Session], bool] | None = None,
    ) -> Session:
        """Resume the newest run of the same work if it is unfinished; otherwise begin a new one.

        Work is the same if the headers are equal except for name, time and seed.  It is unfinished
        if its end was not recorded and, where the points are known beforehand, ``is_left`` says
        that some must still be measured.  Raises HeldError if another process has the run open.
        """
        session = cls._newest(command, header, folder)
        if session is not None:
            if not session.is_ended and (is_left is None or is_left(session)):
                return session
            session.close()
        path = folder / f"{header.run}.jsonl"
        create_run(path, header)
        return cls(path)

    @classmethod
    def _newest(cls, command: str, header: Header, folder: Path) -> Session | None:
        wanted, is_explained = _comparable(header), False
        for path in sorted(folder.glob("*.jsonl"), reverse=True):
            try:
                earlier = read_header(path)
                if _comparable(earlier) == wanted:
                    return cls(path, is_resumed=True)
                if not is_explained and _is_namesake(earlier, header):
                    is_explained = True
                    if not read_run(path).is_ended:
                        _explain(command, path, _comparable(earlier), wanted)
            except HeldError:
                raise
            except UnusableInputError as error:
                say(f"{command}: passing over an unreadable run ({error})")
        return None

    @property
    def cells(self) -> Mapping[Point, Cell]:
        """The last attempt at every measured point."""
        return MappingProxyType(self._cells)

    def get(self, point: Point) -> Cell | None:
        """Return the last attempt at a point; None if it was not measured."""
        return self._cells.get(point)

    def append(self, cell: Cell) -> Cell:
        """Append a cell to the file, and return it as a reader of the file gets it."""
        append_cell(self.path, cell, self.header.sealed)
        self._cells[cell.point] = stored = as_read(cell, self.header)
        return stored

    @property
    def evidence(self) -> Mapping[str, Mapping[str, Any]]:
        """What was measured beside the cells, by name."""
        return MappingProxyType(self._evidence)

    def append_evidence(self, name: str, found: Mapping[str, Any]) -> None:
        """Append what was measured beside the cells; what has the same name is added to."""
        append_evidence(self.path, name, found, self.header.sealed)
        self._evidence.setdefault(name, {}).update(found)

    def finish(self) -> None:
        """Record that the work is complete: the next session of the same work begins anew."""
        end_run(self.path, self.header.sealed)
        self.is_ended = True

    def close(self) -> None:
        """Release the lock on the file."""
        self._lock.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def runs_folder() -> Path:
    """Return the folder that holds the run files."""
    return artifacts() / "runs"


def _comparable(header: Header) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed, as it reads back from JSON."""
    result: dict[str, Any] = json.loads(json.dumps(header.identity()))
    return result


def _is_namesake(first: Header, second: Header) -> bool:
    names = [(header.plan.get("name"), header.model.get("name")) for header in (first, second)]
    return names[0] == names[1]


def _explain(
    command: str, path: Path, earlier: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    """Say why the newest run of the same plan and model is not resumed."""
    names = earlier.keys() | wanted.keys()
    differing = sorted(name for name in names if earlier.get(name) != wanted.get(name))
    say(f"{command}: not going on with {path.name}: another {', '.join(differing)}")
