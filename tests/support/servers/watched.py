"""A process watched from outside: what it sends, and what it leaves in a home of its own.

strace sees every packet that is addressed to another machine, name queries among them.  Where it
cannot run, only what is left in the home is known.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SECONDS = float(os.environ.get("TIANKONG_WATCH_SECONDS", "1"))
"""How long a server is watched after its answer.  ONNX Runtime's first packet takes about 45 s."""
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH")
CALLS = "connect,sendto,sendmsg,sendmmsg"
PLACES = (
    re.compile(r'port=htons\((?P<port>\d+)\).*?(?:inet_addr\(|AF_INET6, )"(?P<host>[^"]+)"'),
    re.compile(r"->\[?(?P<host>[0-9a-fA-F.:]+?)\]?:(?P<port>\d+)\]>"),
)
RESOLVER = "io.systemd.Resolve"  # asks other machines for a name
NAMES = 53


@dataclass(frozen=True)
class Watch:
    """A folder with a new home, for one process and those that it starts."""

    folder: Path

    @property
    def home(self) -> Path:
        """Its home."""
        return self.folder / "home"

    @property
    def log(self) -> Path:
        """What strace saw."""
        return self.folder / "calls"

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return its variables: none that says "CI", where much telemetry is off by itself."""
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        return kept | {"HOME": str(self.home), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"} | more

    def start(self, argv: Sequence[str], more: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start it; its process id is the program's, not strace's."""
        self.home.mkdir(parents=True)
        words = ["strace", "-DD", "-f", "-q", "-yy", "--seccomp-bpf", f"-etrace={CALLS}",
                 "-esignal=none", f"-o{self.log}", *argv]  # fmt: skip
        return subprocess.Popen(
            words if can_trace() else argv, env=self.environment(more), cwd=self.folder,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, argv: Sequence[str], more: Mapping[str, str]) -> str:
        """Run it to its end and return what it printed; it must succeed."""
        process = self.start(argv, more)
        out, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
        return out

    @contextmanager
    def running(
        self, argv: Sequence[str], more: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a server while the block runs; then end it and what it started."""
        process = self.start(argv, more)
        try:
            yield process
            time.sleep(SECONDS)
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # some leave processes behind
                process.communicate(timeout=30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def left(self) -> list[str]:
        """Return the files in the home, sorted."""
        files = (path for path in self.home.rglob("*") if not path.is_dir())
        return sorted(str(path.relative_to(self.home)) for path in files)

    def sent(self) -> list[str]:
        """Return the calls that addressed another machine; none where strace cannot run."""
        if not can_trace():
            return []
        return list(leaving(self._calls()))

    def _calls(self) -> list[str]:
        """Return strace's lines once it has written all of them; it ends after the processes."""
        size, until = -1, time.monotonic() + 10
        while size != (size := self.log.stat().st_size) or not size:
            assert time.monotonic() < until, "strace does not end"
            time.sleep(0.2)
        calls = self.log.read_text(errors="replace").splitlines()
        assert any("+++" in call for call in calls), "strace saw no process end"
        return calls


def leaving(calls: Iterable[str]) -> Iterator[str]:
    """Yield the calls that send something to another machine.

    Connecting a datagram socket sends nothing.  A name query leaves even where a resolver on this
    machine passes it on.
    """
    for call in calls:
        if RESOLVER in call and "ENOENT" not in call:
            yield call
        if " connect(" in call and re.search(r"<UDP", call):
            continue
        for match in filter(None, (place.search(call) for place in PLACES)):
            address = ipaddress.ip_address(match["host"])
            mapped = getattr(address, "ipv4_mapped", None) or address
            if int(match["port"]) == NAMES or not (mapped.is_loopback or mapped.is_unspecified):
                yield call
                break


@cache
def can_trace() -> bool:
    """Tell whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    words = ["strace", "-DD", "-f", "-yy", "--seccomp-bpf", "-o/dev/null", sys.executable, "-c", ""]
    return subprocess.run(words, capture_output=True).returncode == 0
