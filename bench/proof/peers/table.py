"""Turns: windows of servers measured in turns, and the tables made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import geometric_mean, median
from typing import Any

from ....toolkit.machine import usable_cores
from ....toolkit.runs.cell import Cell
from ....toolkit.runs.load import ARTICLE_STACK, REFERENCE_STACK
from ....toolkit.runs.validity import invalidating
from ....toolkit.stats import interval, percentile, variation
from ..ratio import told
from .servers import Contestant, budget

MEGABYTE = 1e6
TOO_FEW, NONE = "too few", "–"
LEVEL = (
    "server", "variant", "requests/s", "P95 ms", "memory MB", "start s", "ours with",
    "ours over it: requests/s", "wins", "ours over it: P95", "wins", "left out",
)  # fmt: skip
ARTICLE = ("server", "variant", "users", "requests/s", "P95", "memory", "start")


@dataclass(frozen=True)
class Turn:
    """One window of one server; or, in ``missing``, one line that says why there is none.

    ``memory`` is bytes of the server's processes, shared pages counted once (PSS, or RSS
    if the kernel does not report it); ``threads`` did at least a twentieth of the server's work
    each (0: not counted); ``doubts`` are the codes of what makes the window invalid.
    """

    server: str
    variant: str
    options: tuple[tuple[str, str], ...]
    number: int
    users: int = 0
    seconds: float = 0.0
    latencies_ms: Sequence[float] = ()
    failed: int = 0
    wrong: int = 0
    example: str = ""
    memory: int = 0
    start_seconds: float = 0.0
    server_cpu_percent: float = 0.0
    generator_cpu_percent: float = 0.0
    other_cpu_percent: float = 0.0
    steal_percent: float = 0.0
    doubts: Sequence[str] = ()
    missing: str = ""
    threads: int = 0

    @classmethod
    def of(cls, contestant: Contestant, number: int, cell: Cell, threads: int = 0) -> Turn:
        """Return the turn that a measured cell makes."""
        names = ("seconds", "failed", "wrong", "start_seconds", "server_cpu_percent",
                 "generator_cpu_percent", "other_cpu_percent", "steal_percent")  # fmt: skip
        return cls(
            **asdict(contestant),
            number=number,
            threads=threads,
            users=cell.load.users,
            latencies_ms=list(cell.latencies_ms),
            example=next(iter(cell.examples), ""),
            memory=cell.proportional_bytes or cell.resident_bytes or 0,
            doubts=[warn.code for warn in invalidating(cell)],
            **{name: getattr(cell, name) for name in names},
        )

    @classmethod
    def read(cls, data: dict[str, Any]) -> Turn:
        """Return the turn that a ledger stores as ``data``."""
        options = tuple((str(key), str(value)) for key, value in data["options"])
        return cls(**data | {"options": options})

    @property
    def contestant(self) -> Contestant:
        """The server that was measured."""
        return Contestant(self.server, self.variant, self.options)

    @property
    def valid(self) -> bool:
        """Whether the window's figures count."""
        return not self.missing and not self.doubts and bool(self.latencies_ms)

    @property
    def qps(self) -> float:
        """Right answers per second."""
        return len(self.latencies_ms) / self.seconds

    @property
    def p95_ms(self) -> float:
        """The 95th percentile by nearest rank, for any sample size: only for ratios in a round."""
        ordered = sorted(self.latencies_ms)
        return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


def verdict(ratios: Sequence[float], more_is_better: bool, other: str) -> str:
    """Return who wins, judged by the ratios of ours to the other's, one per round."""
    bounds = interval(ratios, variation([ratios]))
    if bounds is None:
        return "not judged: one round"
    low, high = bounds
    if low <= 1 <= high:
        return "too close to call"
    return "ours" if (low > 1) == more_is_better else other


def share(ratios: Sequence[float]) -> str:
    """Return a ratio's geometric mean and, from two rounds on, its 95 % interval."""
    if not ratios:
        return NONE
    return told(ratios, 2)


@dataclass(frozen=True)
class Tables:
    """Tables of turns, a row per contestant; ``absent`` says why a peer was not measured."""

    turns: Sequence[Turn]
    contestants: Sequence[Contestant]
    absent: Mapping[str, str]
    usual: str

    def text(self) -> str:
        """Return all tables as Markdown."""
        levels = sorted({turn.users for turn in self.turns if not turn.missing})
        last = (self.article(levels), self.budgets(levels))
        return "\n\n".join([*map(self.level, levels), *last])

    def level(self, users: int) -> str:
        """Return the table of one number of users."""
        head = [f"**{users} {'user' if users == 1 else 'users'}**", "", *_head(LEVEL, 2)]
        return "\n".join([*head, *(_row(self._entry(each, users)) for each in self.contestants)])

    def article(self, levels: Sequence[int]) -> str:
        """Return the ratios of all contestants to the article's server."""
        yardstick = next((c for c in self.contestants if c.server == ARTICLE_STACK), None)
        if yardstick is None:
            return "No ratios to the article's server: it was left out."
        rows = [
            self._against(each, yardstick, users)
            for users in levels
            for each in self.contestants
            if each != yardstick and self._valid(each, users)
        ]
        title = f"**Over the article's server** ({yardstick.variant})"
        return "\n".join([title, "", *_head(ARTICLE, 2), *map(_row, rows)])

    def budgets(self, levels: Sequence[int]) -> str:
        """Return the threads of everybody's engine by its settings, and those that worked."""
        cores = usable_cores()
        columns = ("server", "variant", "engine's threads", *(f"at {n}" for n in levels))
        rows = []
        for each in self.contestants:
            counts = [sorted({t.threads for t in self._valid(each, n).values()}) for n in levels]
            seen = [_span(count) if count else NONE for count in counts]
            rows.append(_row([each.label, each.variant, str(budget(each, cores)), *seen]))
        title = (
            f"**Threads** on the same {cores} CPUs: the engine's by the server's settings, and"
            " those that did at least a twentieth of its work, by users"
        )
        return "\n".join([title, "", *_head(columns, 2), *rows])

    def unusable(self) -> list[str]:
        """Return a line for each level at which a present contestant has no valid window."""
        levels = sorted({turn.users for turn in self.turns if not turn.missing})
        return [
            f"{each.name}, {users} users: {self._why(each, users)}"
            for each in self.contestants
            if each.server not in self.absent
            for users in (levels or [0])
            if not self._valid(each, users)
        ]

    def _valid(self, contestant: Contestant, users: int) -> dict[int, Turn]:
        """Return the valid windows by round."""
        own = (t for t in self.turns if t.contestant == contestant and t.users == users)
        return {turn.number: turn for turn in own if turn.valid}

    def _ratios(
        self, first: Contestant, second: Contestant, users: int, value: Callable[[Turn], float]
    ) -> list[float]:
        own, others = self._valid(first, users), self._valid(second, users)
        both = sorted(own.keys() & others.keys())
        return [value(own[n]) / value(others[n]) for n in both if value(others[n])]

    def _ours(self, contestant: Contestant) -> Contestant | None:
        """Return our server with the same variant, or the usual one if that was not measured."""
        ours = {each.variant: each for each in self.contestants if each.ours}
        return ours.get(contestant.variant, ours.get(self.usual))

    def _entry(self, contestant: Contestant, users: int) -> list[str]:
        windows = list(self._valid(contestant, users).values())
        names = [contestant.label, contestant.variant]
        if not windows:
            return [*names, *[NONE] * (len(LEVEL) - 3), self._why(contestant, users)]
        own = [
            f"{geometric_mean(w.qps for w in windows):.1f}",
            _p95(windows),
            f"{median(w.memory for w in windows) / MEGABYTE:.0f}",
            f"{median(w.start_seconds for w in windows):.1f}",
        ]
        return [*names, *own, *self._duel(contestant, users), self._left_out(contestant, users)]

    def _duel(self, contestant: Contestant, users: int) -> list[str]:
        ours = self._ours(contestant)
        if ours is None or contestant.ours:
            return [NONE] * 5
        rates = self._ratios(ours, contestant, users, lambda turn: turn.qps)
        if not rates:
            return [ours.variant, *[NONE] * 4]
        name = contestant.server
        result = [ours.variant, share(rates), verdict(rates, True, name)]
        both = [self._valid(each, users).values() for each in (ours, contestant)]
        if TOO_FEW in map(_p95, both):
            return [*result, TOO_FEW, NONE]
        times = self._ratios(ours, contestant, users, lambda turn: turn.p95_ms)
        return [*result, share(times), verdict(times, False, name)]

    def _against(self, contestant: Contestant, yardstick: Contestant, users: int) -> list[str]:
        def ratio(value: Callable[[Turn], float]) -> str:
            return share(self._ratios(contestant, yardstick, users, value))

        both = [self._valid(each, users).values() for each in (contestant, yardstick)]
        return [
            contestant.label,
            contestant.variant,
            str(users),
            ratio(lambda turn: turn.qps),
            TOO_FEW if TOO_FEW in map(_p95, both) else ratio(lambda turn: turn.p95_ms),
            ratio(lambda turn: turn.memory),
            ratio(lambda turn: turn.start_seconds),
        ]

    def _left_out(self, contestant: Contestant, users: int) -> str:
        """Return how many turns do not count, by reason."""
        own = [t for t in self.turns if t.contestant == contestant and t.users in (users, 0)]
        reasons = Counter(
            turn.missing or ", ".join(turn.doubts) or "no right answer"
            for turn in own
            if not turn.valid
        )
        shown = [f"{count} × {why}" for why, count in reasons.items()]
        return "; ".join(shown).replace("|", "/") or NONE

    def _why(self, contestant: Contestant, users: int) -> str:
        if why := self.absent.get(contestant.server):
            return why.replace("|", "/")
        reason = self._left_out(contestant, users)
        wrong = [t for t in self.turns if t.contestant == contestant and t.wrong]
        if wrong:
            reason += f"; {wrong[0].example}"
        return reason if reason != NONE else "not measured"


def _span(values: Sequence[int]) -> str:
    """Return the least and the most of sorted values."""
    return "–".join(str(value) for value in dict.fromkeys((values[0], values[-1])))


def _p95(windows: Iterable[Turn]) -> str:
    pooled = list(windows)
    latencies = [latency for turn in pooled for latency in turn.latencies_ms]
    p95_ms = percentile(latencies, 95, sum(turn.failed + turn.wrong for turn in pooled))
    return TOO_FEW if p95_ms is None else f"{p95_ms:.1f}"


def _head(columns: Sequence[str], words: int) -> list[str]:
    marks = ["---"] * words + ["---:"] * (len(columns) - words)
    return [_row(columns), _row(marks)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def ours(variant: str) -> Contestant:
    """Return the reference server with a variant."""
    return Contestant(REFERENCE_STACK, variant)
