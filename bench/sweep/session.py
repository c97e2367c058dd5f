"""Sessions: a piece of work that keeps its cells in a run file, and goes on where it was left."""

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
    as_read,
    create_run,
    end_run,
    locked,
    read_header,
    read_run,
)


class Session:
    """A run file that one process measures into; what is in it is not measured again.

        with Session.resume_or_begin("capacity", header, folder) as session:
            cell = session.get(point) or session.append(ground.measure(point, window))
            session.finish()

    The file is read once, when the session is made; from then on it is held alone, and what is
    measured is kept beside it in memory, as a reader of the file has it.
    """

    def __init__(self, path: Path, *, is_resumed: bool = False) -> None:
        self._held = ExitStack()
        self._held.enter_context(locked(path))
        try:
            run = read_run(path)
        except UnusableInputError:
            self._held.close()
            raise
        self.path, self.header, self.is_ended = path, run.header, run.is_ended
        self.is_resumed = is_resumed
        self._cells = {cell.point: cell for cell in run.cells}

    @classmethod
    def resume_or_begin(
        cls,
        command: str,
        header: Header,
        folder: Path,
        is_left: Callable[[Session], bool] | None = None,
    ) -> Session:
        """Return the newest session that is this one, if something is left of it, or a new one.

        It is this one if the header is, all but name, time and seed.  Something is left where the
        work was not finished; of work whose points are known beforehand ``is_left`` tells.  Raises
        HeldError if another process is at it.
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
        """The last attempt at every point that is there."""
        return MappingProxyType(self._cells)

    def get(self, point: Point) -> Cell | None:
        """Return a point's last attempt, if it was measured."""
        return self._cells.get(point)

    def append(self, cell: Cell) -> Cell:
        """Write a cell down, and return it."""
        append_cell(self.path, cell)
        self._cells[cell.point] = kept = as_read(cell, self.header)
        return kept

    def finish(self) -> None:
        """Write down that nothing is left, so that the next session like this one begins anew."""
        end_run(self.path)
        self.is_ended = True

    def close(self) -> None:
        """Let go of the file."""
        self._held.close()

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
    """Return the folder of run files."""
    return artifacts() / "runs"


def _comparable(header: Header) -> dict[str, Any]:
    """Return what must agree for a run to be continued, in the form a file gives it back."""
    result: dict[str, Any] = json.loads(json.dumps(header.identity()))
    return result


def _is_namesake(one: Header, other: Header) -> bool:
    names = [(header.plan.get("name"), header.model.get("name")) for header in (one, other)]
    return names[0] == names[1]


def _explain(command: str, path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Say why the newest run of the same plan and model is not gone on with."""
    names = there.keys() | wanted.keys()
    differing = sorted(name for name in names if there.get(name) != wanted.get(name))
    say(f"{command}: not going on with {path.name}: another {', '.join(differing)}")
