"""Proof that ``compare`` is right: a variant against itself, and against planted differences.

    python -m tiankong.bench.proof.comparisons --model builtin --variant onnx-int8

Twenty comparisons of each kind: the variant with itself, with a copy that is slowed by 15 %, and a
slowed copy with the variant, which is then 15 % faster.  During half of them another process uses
one core.  Results go to ``artifacts/proof/comparisons.jsonl``, one per line; after an interruption
the same command continues.  ``--summary`` only prints the table.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from subprocess import Popen
from typing import Any

from ...server.settings import Settings
from ...toolkit.building.folders import Built
from ...toolkit.building.store import Store
from ...toolkit.console import say
from ...toolkit.files import artifacts
from ...toolkit.gate.answers import load
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import read_gold
from ...toolkit.machine import allowed_cpus, fingerprint
from ...toolkit.processes import end_with_parent, free_port
from ..compare.judgement import CLOSE, FASTER, SLOWER
from ..compare.rounds import CompareTerms, Opener, compare
from ..load.sentences import Questions
from ..load.target import Target
from ..serving.served import Served, serve, started
from .ledger import Ledger
from .program import command_line, ended_well

TIMES = 20
SLOWER_RATIO, FASTER_RATIO = 0.85, 1.15
KINDS = {"same": CLOSE, "slower": SLOWER, "faster": FASTER}
CALIBRATION = {"extra": 0.25, "seconds": 150.0}
LOOP = "while True: pass"


@contextmanager
def slowed(built: Built, extra: float) -> Iterator[Served]:
    """Serve a variant; a share ``extra`` of its inferences is made twice."""
    port = free_port()
    argv = [sys.executable, "-m", "tiankong.bench.proof.slowed", "--variant-dir",
            str(built.folder.absolute()), "--port", str(port), "--extra", str(extra)]  # fmt: skip
    begun = time.monotonic()
    with started("the slowed server", argv, {}) as process:
        process.await_ready(f"http://127.0.0.1:{port}/health/ready")
        settings = Settings(folder=built.folder)
        yield Served(
            Target(f"http://127.0.0.1:{port}"), process.pid, time.monotonic() - begun, settings
        )
        process.require_alive()


@contextmanager
def competitor(cpu: int) -> Iterator[None]:
    """Keep another process at work on one core."""
    with Popen(["taskset", "-c", str(cpu), sys.executable, "-c", LOOP],
               preexec_fn=end_with_parent) as process:  # fmt: skip
        try:
            yield
        finally:
            process.kill()


def main() -> None:
    """Run what is missing and print the table."""
    parser = command_line("comparisons", __doc__)
    parser.add_argument("--variant", default="onnx-int8")
    parser.add_argument("--times", type=int, default=TIMES)
    parser.add_argument("--summary", action="store_true", help="only print the table")
    given = parser.parse_args()
    terms = {"model": given.model, "variant": given.variant}
    with ended_well("comparisons", resumes=True):
        ledger = Ledger(artifacts() / "proof" / "comparisons.jsonl", terms)
        if not given.summary:
            prove(given.model, given.variant, given.times, ledger)
    print(summary(list(ledger.values.values())))


def prove(model: str, variant: str, times: int, ledger: Ledger) -> None:
    """Run every comparison that the ledger does not have yet."""
    gold = read_gold()
    (built,) = ensure(Store(model), [variant], gold)
    answers = load(variant, built.manifest.digest, gold)
    expected = [list(answers.rankings[item.id][:10]) for item in gold.items]
    questions = Questions(gold.texts(), expected)
    plain: Opener = partial(serve, "reference", Settings(folder=built.folder))
    slow = partial(slowed, built, CALIBRATION["extra"])
    terms = CompareTerms(seconds=CALIBRATION["seconds"])
    calibration = _compared(ledger, "calibration", 0, (plain, slow), questions, terms)
    # If inference is a share s of a request's cost, then making a share x of the inferences twice
    # makes a request cost 1 + x s times as much.
    share = (1 / calibration["result"]["ratio"] - 1) / CALIBRATION["extra"]
    down = partial(slowed, built, (1 / SLOWER_RATIO - 1) / share)
    up = partial(slowed, built, (FASTER_RATIO - 1) / share)
    pairs: dict[str, tuple[Opener, Opener]] = {
        "same": (plain, plain),
        "slower": (plain, down),
        "faster": (up, plain),
    }
    for number in range(times):
        for kind, openers in pairs.items():
            _compared(ledger, kind, number, openers, questions, CompareTerms(seed=number))


def _compared(
    ledger: Ledger, kind: str, number: int, openers: tuple[Opener, Opener], questions: Questions,
    terms: CompareTerms,
) -> dict[str, Any]:  # fmt: skip
    """Return the result of one comparison; measure it if the ledger does not have it.

    Comparisons with an odd number run while another process uses one core.
    """
    key, is_disturbed = (kind, number), number % 2 == 1
    if (stored := ledger.get(key)) is not None:
        return dict(stored)
    begun = time.monotonic()
    with competitor(allowed_cpus()[-1]) if is_disturbed else nullcontext():
        result = compare(("A", "B"), openers, (questions, questions), terms)
    seconds, ratio = round(time.monotonic() - begun, 1), result.ratio
    say(f"{kind} {number}: {result.verdict} {ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")
    entry = {"kind": kind, "disturbed": is_disturbed, "seconds": seconds}
    entry |= {"result": result.as_json(), "machine": fingerprint()}
    return dict(ledger.append(key, entry))


def summary(entries: list[dict[str, Any]]) -> str:
    """Return a Markdown table of how often each planted difference got which verdict."""
    heads = ["planted", "other process", "comparisons", SLOWER, CLOSE, FASTER, "ratios", "longest"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    names = {"same": "nothing", "slower": f"{SLOWER_RATIO:g} x", "faster": f"{FASTER_RATIO:g} x"}
    for kind in KINDS:
        for disturbed in (False, True):
            own = [e for e in entries if e["kind"] == kind and e.get("disturbed") == disturbed]
            if not own:
                continue
            called = [entry["result"]["verdict"] for entry in own]
            ratios = [entry["result"]["ratio"] for entry in own]
            counts = " | ".join(str(called.count(name)) for name in (SLOWER, CLOSE, FASTER))
            lines.append(
                f"| {names[kind]} | {'on one core' if disturbed else 'none'} | {len(own)} |"
                f" {counts} | {min(ratios):.3f} to {max(ratios):.3f} |"
                f" {max(entry['seconds'] for entry in own):.0f} s |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
