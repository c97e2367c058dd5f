"""Proof that no measured cell is lost: ``kill -9`` at random moments, then the sweep is resumed.

    python -m tiankong.bench.proof.kills --model builtin-small

Twenty times a sweep is started or resumed, and after a random time the sweep itself, its generator
or its server is killed with SIGKILL.  Each time the run file must be readable and have at least the
cells it had before; in the end the sweep must complete the same run.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from ...toolkit.console import say
from ...toolkit.errors import TiankongError
from ...toolkit.files import artifacts
from ...toolkit.runs.run_file import read_run
from .program import command_line, ended_well

TIMES = 20
PLAN = """
variants = ["onnx-int8"]
levels = [1, 2]
rates = [20]
seconds = 3
warmup_seconds = 0.5
repeats = 2
"""
CELLS = 6
VICTIMS = ("sweep", "generator", "server")
MARKS = {"generator": "locust", "server": "tiankong.server"}
LONGEST_LIFE = (
    12.0  # seconds until the kill: enough for the sweep to start and measure a cell or two
)


def main() -> None:
    """Kill, check the run files, and complete the sweep; exit with 1 if anything was lost."""
    parser = command_line("kills", __doc__, "builtin-small")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with ended_well("kills"), TemporaryDirectory() as folder:
        plan = Path(folder) / "kills.toml"
        plan.write_text(PLAN, encoding="utf-8")
        sys.exit(prove(given.model, plan, given.times, random.Random(given.seed)))


def prove(model: str, plan: Path, times: int, source: random.Random, planned: int = CELLS) -> int:
    """Return 0 if every run file stayed readable and the last sweep completed its planned cells."""
    command = [sys.executable, "-m", "tiankong", "sweep", "--model", model, "--plan", str(plan)]
    before = set(_runs())
    cells_before: dict[Path, int] = {}
    for number in range(1, times + 1):
        victim = source.choice(VICTIMS)
        life = source.uniform(0.5, LONGEST_LIFE)
        code = _kill_once(command, victim, life)
        for path in set(_runs()) - before:
            try:
                cells = len(read_run(path).cells)
            except TiankongError as error:
                say(f"kills: {number}: {error}")
                return 1
            if cells < cells_before.get(path, 0):
                say(f"kills: {number}: {path} lost cells")
                return 1
            cells_before[path] = cells
        counts = list(cells_before.values())
        say(f"kills: {number}: {victim} after {life:.1f} s, exit code {code}, cells {counts}")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    new = sorted(set(_runs()) - before)
    complete = [len(read_run(path).cells) for path in new]
    print(
        f"{times} kills; run files {len(new)}, cells {complete}; last exit code {done.returncode}"
    )
    return 0 if done.returncode in (0, 3) and complete and complete[-1] == planned else 1


def _runs() -> Iterator[Path]:
    yield from (artifacts() / "runs").glob("*.jsonl")


def _kill_once(command: list[str], victim: str, life: float) -> int:
    """Run the sweep, kill the victim after so many seconds, and wait until the sweep has ended."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as sweep:
        time.sleep(life)
        if victim == "sweep":
            sweep.kill()
        else:
            # No such process may run at this moment: then wait for the next one.
            while sweep.poll() is None and not _kill_child(sweep.pid, MARKS[victim]):
                time.sleep(0.02)
        return sweep.wait()


def _kill_child(parent: int, mark: str) -> bool:
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if any(mark in word for word in child.cmdline()):
                    child.send_signal(signal.SIGKILL)
                    return True
    return False


if __name__ == "__main__":
    main()
