"""Proof that the generator is right: the same server loaded by Locust and by wrk in turns.

    python -m tiankong.bench.proof.wrk --model builtin --variant onnx-int8     (needs Debian's wrk)

For each number of users one server is started.  A round has one window of Locust and one of wrk,
which take turns in going first.  Rounds are repeated until enough are calm: the host stole no more
than 2 % of the CPU time during both windows.  Other rounds are stored too.  Results go to
``artifacts/proof/wrk.jsonl``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from ...server.settings import Settings
from ...toolkit.building.store import Store
from ...toolkit.console import say
from ...toolkit.errors import InvalidMeasurementError, UnusableInputError
from ...toolkit.files import artifacts
from ...toolkit.gate.answers import load
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import read_gold
from ...toolkit.machine import fingerprint
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import doubts
from ..load.sentences import Questions, gold_questions
from ..serving.accounting import snapshot, usage
from ..serving.served import Served, serve
from ..sweep.measure import Window, measure
from .ledger import Ledger
from .program import command_line, ended_well
from .ratio import told

USERS = (1, 4, 8, 16)
CALM_ROUNDS, MOST_ROUNDS = 8, 20
CALM_PERCENT = 2.0  # of the machine's CPU time, stolen by the host
SECONDS, WARMUP_SECONDS = 6.0, 1.0
SCRIPT = """
local bodies = {%s}
local turn = 0
request = function()
  turn = turn %% #bodies + 1
  return wrk.format("POST", "/predict", {["Content-Type"] = "application/json"}, bodies[turn])
end
done = function(summary, latency, requests)
  local bad = summary.errors.connect + summary.errors.read + summary.errors.write
  bad = bad + summary.errors.status + summary.errors.timeout
  io.write(string.format("tiankong %%d %%d %%f %%f %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), bad))
end
"""
RESULT = re.compile(r"^tiankong (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)$", re.MULTILINE)


def wrk(url: str, texts: Sequence[str], users: int, seconds: float) -> dict[str, Any]:
    """Load a server with wrk and return QPS and latency percentiles in milliseconds.

    Raises UnusableInputError if wrk is not installed, InvalidMeasurementError if requests failed.
    """
    if shutil.which("wrk") is None:
        raise UnusableInputError("wrk is not installed: apt-get install wrk")
    bodies = ", ".join(f"[==[{json.dumps({'text': t}, ensure_ascii=False)}]==]" for t in texts)
    with tempfile.TemporaryDirectory(prefix="tiankong-wrk-") as folder:
        script = Path(folder) / "script.lua"
        script.write_text(SCRIPT % bodies, encoding="utf-8")
        command = ["wrk", "-t", "1", "-c", str(users), "-d", f"{seconds:.0f}s", "-s", str(script)]
        before = snapshot([], os.getpid())
        done = subprocess.run([*command, url], capture_output=True, text=True, check=False)
        used = usage(before, snapshot([], os.getpid()))
    match = RESULT.search(done.stdout)
    if done.returncode or match is None or int(match[5]):
        raise InvalidMeasurementError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    requests, microseconds, median, tail = (float(match[i]) for i in range(1, 5))
    return {
        "qps": requests / microseconds * 1e6,
        "p50_ms": median / 1000,
        "p95_ms": tail / 1000,
        "stolen_percent": round(used.steal, 2),
    }


def ours(server: Served, questions: Questions, users: int, variant: str) -> dict[str, Any]:
    """Load a server with our generator, and return the same figures."""
    point, window = Point(variant, REFERENCE_STACK, Load(users)), Window(SECONDS, WARMUP_SECONDS)
    cell = measure(point, server, questions, window)
    return {
        "qps": cell.qps,
        "p50_ms": cell.percentile_ms(50),
        "p95_ms": cell.percentile_ms(95),
        "stolen_percent": cell.steal_percent,
        "warnings": [warn.code for warn in doubts(cell)],
    }


def prove(model: str, variant: str, ledger: Ledger) -> None:
    """Measure every number of users that the ledger does not have yet."""
    gold = read_gold()
    (built,) = ensure(Store(model), [variant], gold)
    questions = gold_questions(gold, load(variant, built.manifest.digest, gold), seed=0)
    for users in USERS:
        if ledger.get((users,)) is None:
            with serve("reference", Settings(folder=built.folder)) as server:
                rounds = _rounds(server, questions, users, variant)
            entry = {"users": users, "rounds": rounds, "machine": fingerprint()}
            ledger.append((users,), entry)
            say(f"wrk: {users} users measured")


def _rounds(
    server: Served, questions: Questions, users: int, variant: str
) -> list[dict[str, dict[str, Any]]]:
    wrk(server.url, questions.texts, users, 3)  # warms the server up for both generators
    turns: dict[str, Callable[[], dict[str, Any]]] = {
        "locust": lambda: ours(server, questions, users, variant),
        "wrk": lambda: wrk(server.url, questions.texts, users, SECONDS),
    }
    orders = (list(turns), list(reversed(turns)))
    rounds: list[dict[str, dict[str, Any]]] = []
    while len(rounds) < MOST_ROUNDS and sum(map(calm, rounds)) < CALM_ROUNDS:
        rounds.append({name: turns[name]() for name in orders[len(rounds) % 2]})
    return rounds


def calm(windows: dict[str, dict[str, Any]]) -> bool:
    """Return whether the figures of a round can be compared."""
    return all(window["stolen_percent"] <= CALM_PERCENT for window in windows.values())


def summary(entries: Sequence[dict[str, Any]]) -> str:
    """Return both generators' means over the calm rounds, and their ratio, as Markdown.

    Ratios are geometric means over the rounds, with their 95 % intervals.
    """
    heads = ("users", "calm rounds", "QPS Locust", "QPS wrk", "ratio",
             "P95 Locust", "P95 wrk", "ratio")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for entry in sorted(entries, key=lambda entry: int(entry["users"])):
        rounds = [windows for windows in entry["rounds"] if calm(windows)]
        row = [str(entry["users"]), f"{len(rounds)} of {len(entry['rounds'])}"]
        for key, unit in (("qps", ""), ("p95_ms", " ms")):
            sides = {name: [one[name][key] for one in rounds] for name in ("locust", "wrk")}
            row += [f"{geometric_mean(values):.4g}{unit}" for values in sides.values()]
            row.append(_ratio(sides["locust"], sides["wrk"]))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> str:
    return told([one / other for one, other in zip(mine, theirs, strict=True)])


def main() -> None:
    """Measure what is missing and print the table."""
    parser = command_line("wrk", __doc__)
    parser.add_argument("--variant", default="onnx-int8")
    parser.add_argument("--summary", action="store_true", help="only print the table")
    given = parser.parse_args()
    terms = {"model": given.model, "variant": given.variant}
    with ended_well("wrk", resumes=True):
        ledger = Ledger(artifacts() / "proof" / "wrk.jsonl", terms)
        if not given.summary:
            prove(given.model, given.variant, ledger)
    print(summary(list(ledger.values.values())))


if __name__ == "__main__":
    main()
