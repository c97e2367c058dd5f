"""Our server, the article's and other ways to serve the same files, in turns in one run.

    python -m tiankong.bench.proof.peers --users 1,16 --python litserve=PATH --python ray_batch=PATH

``nox -s peers -- --users 1,16`` makes an environment for each peer and does the same.  In every
round each server, in shuffled order, is started twice (the second start counts: by then its files
are in the page cache and its prepared weights are stored), warmed up, loaded by the Locust users of
each level (shuffled too), and stopped before the next starts: one server has the machine.  Every
answer is compared with the variant's own top-5 without load; everybody has the same CPUs and as
many threads for the engine, or is refused.  Windows are appended to
``artifacts/proof/peers.jsonl``; those that are there with the same terms (seconds, seed, gold set,
machine, variant, the server's program) are not measured again, so an interrupted run is resumed.
Peers are written NAME[:VARIANT][@OPTION=VALUE+...], for example ``litserve@workers=1+threads=2``;
``ray@replicas=2`` is our own server behind Ray Serve.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ....toolkit.building.folders import Built
from ....toolkit.building.store import Store
from ....toolkit.console import say
from ....toolkit.errors import InvalidMeasurementError, UnusableInputError
from ....toolkit.files import artifacts
from ....toolkit.gate.answers import load
from ....toolkit.gate.examination import ensure
from ....toolkit.gate.gold import GoldSet, read_gold
from ....toolkit.machine import digest as machine_digest
from ....toolkit.machine import fingerprint, usable_cores
from ....toolkit.options import names
from ....toolkit.runs.load import ARTICLE_STACK, Load
from ....toolkit.runs.point import Point
from ...load.sentences import Questions, gold_questions
from ...serving.served import Served
from ...sweep.measure import Window, undisturbed
from ..ledger import Key, Ledger
from ..program import command_line, ended_well
from .servers import (
    PEERS,
    RAY,
    USUAL,
    Contestant,
    digest,
    opened,
    parse_peers,
    require_equal_budgets,
    script,
)
from .table import Tables, Turn, ours
from .threads import require_same_cpus, spent, working

OURS = "onnx-int8,openvino-int8,onnx-fp32,pytorch-fp32"
YARDSTICK = "onnx-fp32"
NO_PYTHON = "no environment: 'nox -s peers' makes one, or name its interpreter with --python"


@dataclass(frozen=True)
class PeerTerms:
    """What must be equal for windows to appear in one table."""

    model: str
    seconds: float
    warmup_seconds: float
    seed: int
    gold: str
    machine: str

    def as_json(self) -> dict[str, Any]:
        """Return the terms as a JSON object."""
        return dict(vars(self))


@dataclass
class Match:
    """Contestants with their variants, and the turns so far; new turns go to the ledger.

    A turn's key includes the digest of the variant and of the server's program: a turn does not
    count for other versions of them.
    """

    contestants: Sequence[Contestant]
    variants: Mapping[str, Built]
    questions: Mapping[str, Questions]
    pythons: Mapping[str, Path]
    terms: PeerTerms
    ledger: Ledger
    folder: Path = PEERS
    turns: list[Turn] = field(init=False)

    def __post_init__(self) -> None:
        self.digests = {
            each.name: digest(each, self.variants[each.variant], self.folder)
            for each in self.contestants
        }
        there = self.ledger.values.items()
        own = self.digests.items()
        self.turns = [Turn.read(data) for (name, made, *_), data in there if (name, made) in own]

    def play(self, levels: Sequence[int], rounds: int) -> None:
        """Measure the missing turns; a server that could not be started is not tried again."""
        given_up: set[Contestant] = set()
        for number in range(1, rounds + 1):
            order = list(self.contestants)
            random.Random(f"{self.terms.seed}-{number}").shuffle(order)
            for contestant in order:
                left = self._left(contestant, levels, number)
                if left and contestant not in given_up and not self._turn(contestant, left, number):
                    given_up.add(contestant)

    def _left(self, contestant: Contestant, levels: Sequence[int], number: int) -> list[int]:
        left = [n for n in levels if self.ledger.get(self._key(contestant, number, n)) is None]
        random.Random(f"{self.terms.seed}-{number}-{contestant.name}").shuffle(left)
        return left

    def _turn(self, contestant: Contestant, levels: Sequence[int], number: int) -> bool:
        """Measure one contestant's levels; return whether it could be started."""
        has_begun = False
        try:
            with self._opened(contestant):
                has_begun = True
            with self._opened(contestant) as server:
                for users in levels:
                    turn = self._window(contestant, server, users, number)
                    self._keep(turn)
                    say(f"peers: round {number}, {contestant.name}, {users} users: {_said(turn)}")
        except (InvalidMeasurementError, OSError) as error:
            say(f"peers: round {number}, {contestant.name}: {error}")
            why = " ".join(str(error).split())
            self._keep(Turn(**vars(contestant), number=number, missing=why))
        return has_begun

    def _opened(self, contestant: Contestant) -> AbstractContextManager[Served]:
        return opened(contestant, self.variants[contestant.variant], self.pythons, self.folder)

    def _window(self, contestant: Contestant, server: Served, users: int, number: int) -> Turn:
        """Measure one level."""
        point = Point(contestant.variant, contestant.server, Load(users), number)
        questions = self.questions[contestant.variant]
        window = Window(self.terms.seconds, self.terms.warmup_seconds, seed=self.terms.seed)
        assert server.pid is not None
        require_same_cpus(contestant.name, server.pid)
        before = spent(server.pid)
        cell = undisturbed(point, server, questions, window)
        return Turn.of(contestant, number, cell, working(before, spent(server.pid)))

    def _keep(self, turn: Turn) -> None:
        key = self._key(turn.contestant, turn.number, turn.users)
        self.turns.append(Turn.read(self.ledger.append(key, asdict(turn))))

    def _key(self, contestant: Contestant, number: int, users: int) -> Key:
        return (contestant.name, self.digests[contestant.name], number, users)


def _said(turn: Turn) -> str:
    doubts = f" ({', '.join(turn.doubts)})" if turn.doubts else ""
    return f"{turn.qps:.1f} requests/s{doubts}"


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping; raise UnusableInputError for any other."""
    values = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise UnusableInputError(f"{option} {text!r} is not NAME=VALUE")
        values[name] = value
    return values


def interpreters(texts: Sequence[str]) -> dict[str, Path]:
    """Return the peers' interpreters; raise UnusableInputError for one that is not there."""
    pythons = {name: Path(value) for name, value in pairs(texts, "--python").items()}
    for name, path in pythons.items():
        if not path.is_file():
            raise UnusableInputError(f"--python {name}: there is no {path}")
    return pythons


def whole(text: str) -> list[int]:
    """Return comma-separated whole numbers above 0; raise UnusableInputError for anything else."""
    parts = names(text)
    if not parts or not all(part.isdecimal() and int(part) for part in parts):
        raise UnusableInputError(f"--users {text!r} is not a list of whole numbers above 0")
    return [int(part) for part in parts]


def absences(
    peers: Sequence[Contestant], pythons: Mapping[str, Path], known: Mapping[str, str]
) -> dict[str, str]:
    """Return why peers cannot be measured: a reason in ``known``, no script or no interpreter."""
    reasons = dict(known)
    for peer in dict.fromkeys(each.server for each in peers):
        if peer == RAY:
            if find_spec("ray") is None:
                reasons.setdefault(peer, "Ray is not installed: pip install -e '.[ray]'")
        elif not script(peer).is_file():
            reasons.setdefault(peer, f"there is no {script(peer)}")
        elif peer not in pythons:
            reasons.setdefault(peer, NO_PYTHON)
    return {peer: why for peer, why in reasons.items() if any(peer == e.server for e in peers)}


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = command_line("peers", __doc__)
    add = result.add_argument
    add("--variants", default=OURS, help=f"what our server serves (default: {OURS})")
    add("--peers", default=USUAL, help=f"who else takes part (default: {USUAL})")
    add("--users", default="1,4,8,16", help="levels, comma-separated (default: 1,4,8,16)")
    add("--rounds", type=int, default=5, help="default: 5; 0 only prints what is there")
    add("--seconds", type=float, default=10.0, help="of each window (default: 10)")
    add("--warmup", type=float, default=2.0, help="seconds of load before each window (default: 2)")
    add("--seed", type=int, default=0, help="of the order of servers, levels and sentences")
    add("--python", action="append", default=[], metavar="PEER=PATH", help="its interpreter")
    add("--absent", action="append", default=[], metavar="PEER=WHY", help="stands in its row")
    add("--no-article", action="store_true", help="leave the article's server out")
    add("--out", type=Path, help="file of the windows (default: artifacts/proof/peers.jsonl)")
    return result


def prepared(given: argparse.Namespace, gold: GoldSet) -> tuple[Match, Tables]:
    """Return the match to play, and the tables of its turns."""
    peers = parse_peers(given.peers)
    pythons = interpreters(given.python)
    known = pairs(given.absent, "--absent")
    absent = absences(peers, pythons, known) if given.rounds else known
    for name, why in absent.items():
        say(f"peers: without {name}: {why}")
    if given.rounds:
        taking_part = [each for each in peers if each.server not in absent]
        require_equal_budgets(taking_part, usable_cores())
    mine = names(given.variants)
    stacks = [] if given.no_article else [Contestant(ARTICLE_STACK, YARDSTICK)]
    rows = [*map(ours, mine), *stacks, *peers]
    there = [each for each in rows if each.server not in absent]
    wanted = list(dict.fromkeys(each.variant for each in there))
    gated = ensure(Store(given.model), wanted, gold)
    variants = {built.manifest.variant: built for built in gated}
    asked = {
        name: gold_questions(gold, load(name, built.manifest.digest, gold), given.seed)
        for name, built in variants.items()
    }
    out = given.out or artifacts() / "proof" / "peers.jsonl"
    machine = machine_digest(fingerprint())
    terms = PeerTerms(given.model, given.seconds, given.warmup, given.seed, gold.digest, machine)
    match = Match(there, variants, asked, pythons, terms, Ledger(out, terms.as_json()))
    return match, Tables(match.turns, rows, absent, mine[0] if mine else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables; exit code 3 if a server that took part has no figures."""
    given = parser().parse_args(arguments)
    with ended_well("peers", resumes=True):
        levels, gold = whole(given.users), read_gold()
        if given.rounds < 0 or given.seconds < 1 or given.warmup < 0:
            raise UnusableInputError("--rounds and --warmup are at least 0, --seconds at least 1")
        match, tables = prepared(given, gold)
        match.play(levels, given.rounds)
    print(f"{given.model}, seed {given.seed}, {given.rounds} rounds, windows of {given.seconds:g} s"
          f" after {given.warmup:g} s of warm-up\n")  # fmt: skip
    print(tables.text())
    if lines := tables.unusable():
        for line in lines:
            say(f"peers: no figures: {line}")
        sys.exit(InvalidMeasurementError.exit_code)


if __name__ == "__main__":
    main()
