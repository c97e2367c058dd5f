"""Proof of what a request costs the server's own code: HTTP, queue, batches, metrics, log.

    python -m tiankong.bench.proof.request --rev HEAD~1

The server's real process answers real connections with an engine that only waits (idle_server.py),
so all its processor time is the server's own code; the client's is not counted.  The time is the
kernel's for each thread (``/proc/PID/task/*/schedstat``): the event loop, and all others (streams,
access log).  With ``--rev`` another revision of this project is measured too, in turns in this run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from statistics import median

from ...toolkit.building.store import Store
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import read_gold
from ...toolkit.processes import free_port
from ..compare.revisions import take_revision
from ..load.sentences import shuffled
from ..serving.served import READY_PATHS, started
from .program import command_line, ended_well
from .ratio import told

PROGRAM = Path(__file__).with_name("idle_server.py")
HERE = "this code"
PARTS = ("loop", "others", "both")
OK = b"HTTP/1.1 200 "
LENGTH = b"content-length:"

Costs = Mapping[str, float]
"""Microseconds of processor time a request, for each of ``PARTS``."""


@dataclass(frozen=True)
class IdleServer:
    """A running server whose engine only waits."""

    pid: int
    port: int

    def spent(self) -> tuple[float, float]:
        """Return the processor time so far, in microseconds: of the loop, of all other threads."""
        loop = others = 0.0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            microseconds = int((task / "schedstat").read_text().split()[0]) / 1000
            if task.name == str(self.pid):
                loop = microseconds
            else:
                others += microseconds
        return loop, others


@contextmanager
def idle_server(name: str, python: Path, package: str, *words: str) -> Iterator[IdleServer]:
    """Start ``idle_server.py`` with the package in a folder, until the block ends."""
    port = free_port()
    argv = [str(python), str(PROGRAM), *words, f"--port={port}"]
    with started(f"the server of {name}", argv, {"PYTHONPATH": package}) as process:
        process.await_ready(f"http://127.0.0.1:{port}{READY_PATHS['reference']}")
        yield IdleServer(process.pid, port)
        process.require_alive()


async def _ask(server: IdleServer, texts: Sequence[str], users: int, requests: int) -> None:
    bodies = [json.dumps({"text": text}, ensure_ascii=False).encode() for text in texts]
    head = "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    messages = cycle([f"{head}Content-Length: {len(b)}\r\n\r\n".encode() + b for b in bodies])

    async def user(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(count):
            writer.write(next(messages))
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(OK):
                raise InvalidMeasurementError(f"the server refused a request: {answer[:40]!r}")
            length = answer.lower().partition(LENGTH)[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(user(requests // users) for _ in range(users)))


def window(server: IdleServer, texts: Sequence[str], users: int, requests: int) -> Costs:
    """Return the cost of a request, of ``requests`` by so many users without a pause."""
    count = requests // users * users
    before = server.spent()
    asyncio.run(_ask(server, texts, users, requests))
    loop, others = (now - then for now, then in zip(server.spent(), before, strict=True))
    return {"loop": loop / count, "others": others / count, "both": (loop + others) / count}


def rows(measured: Mapping[str, Sequence[Costs]]) -> Iterator[str]:
    """Yield the rows of the table: medians, and the ratio to the other side's, within rounds."""
    for name, costs in measured.items():
        cells = [f"{median(cost[part] for cost in costs):.0f}" for part in PARTS]
        ratio = "–"
        if name == HERE and len(measured) > 1:
            (other,) = (each for label, each in measured.items() if label != HERE)
            pairs = zip(costs, other, strict=True)
            ratio = told([mine["both"] / theirs["both"] for mine, theirs in pairs])
        yield f"| {' | '.join([name, *cells, ratio])} |"


def main() -> None:
    """Measure, and print the table."""
    parser = command_line("request", __doc__, model="builtin-small")
    parser.add_argument("--rev", default="", help="another revision, by any name git knows")
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--delay", type=float, default=0.004, help="seconds a batch takes")
    given = parser.parse_args()
    with ended_well("request"), ExitStack() as stack:
        gold = read_gold()
        texts = [item.text for item in shuffled(gold, seed=0)]
        (built,) = ensure(Store(given.model), ["onnx-int8"], gold)
        words = (str(built.folder.absolute()), f"--delay={given.delay}")
        packages = {HERE: (Path(sys.executable), _package_folder())}
        if given.rev:
            revision = take_revision(given.rev, given.model)
            name = revision.commit[:12]
            packages = {name: (revision.python, str(revision.folder.absolute())), **packages}
        servers = {
            name: stack.enter_context(idle_server(name, python, package, *words))
            for name, (python, package) in packages.items()
        }
        for server in servers.values():
            window(server, texts, given.users, given.requests // 3)
        measured: dict[str, list[Costs]] = {name: [] for name in servers}
        for turn in range(given.rounds):
            for name in list(servers)[:: 1 if turn % 2 else -1]:
                measured[name].append(window(servers[name], texts, given.users, given.requests))
    print("| code | loop us | others us | both us | over the other revision |")
    print(f"|{' --- |' * 5}")
    for row in rows(measured):
        print(row)


def _package_folder() -> str:
    """Return what the import path of this process is, for a process that is started by a path."""
    return os.pathsep.join(entry for entry in sys.path if entry)


if __name__ == "__main__":
    main()
