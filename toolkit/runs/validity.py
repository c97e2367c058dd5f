"""Validity: all reasons to doubt a cell, each with what was seen and what to try.

The rules are those of docs/measurement.md; every limit is a constant here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import MEBIBYTE
from ..stats import SUPPORT, percentile, percentile_bounds
from .cell import UNANSWERED, Cell

MAX_FAILURE_SHARE = 0.001
GENERATOR_CPU_LIMIT = 90.0  # percent of one core: each Locust process is one thread of Python
GENERATOR_DELAY_SHARE = 0.05  # of the mean latency: what waiting for a core adds to a request
GENERATOR_WAIT_PERCENT = 8.0  # of its runnable time, on a machine that other processes keep busy
GENERATOR_LATE_LIMIT_MS = 10.0
GENERATOR_LATE_SHARE = 0.25  # of the median latency: lateness matters less if answers are slow
LITTLE_TOLERANCE = 0.05  # and the share of the window that a request takes, see _little
UNANSWERED_SHARE = 0.05  # of the users, who then ask nothing more
WINDOWS = 3
WINDOW_TOLERANCE = (0.10, 0.25)  # doubtful above the first, invalid above the second
RANGE_OF_THREE = 3.3  # the 95th percentile of the range of three standard normal values
BUSY_PERCENT = (5.0, 10.0)  # doubtful above the first, invalid above the second
STEAL_PERCENT = (2.0, 5.0)
THROTTLED_PERCENT = 5.0  # of the CPU quota's periods
SWAPPED_BYTES = MEBIBYTE
STALL_FACTOR = 2.0
_JUDGED = "_judged"  # where a cell keeps its doubts


@dataclass(frozen=True)
class Warn:
    """One reason to doubt a cell: its code (of a fixed list), what was seen, what to try.

    ``outside`` marks causes that lie neither in the variant nor in the server nor in the plan.
    ``figures`` are the numbers in ``seen`` that the cell itself does not have, by name, so that
    pages can say it in other languages.
    """

    code: str
    seen: str
    advice: str
    invalidates: bool = False
    outside: bool = False
    figures: Mapping[str, str] = field(default_factory=dict)


def doubts(cell: Cell) -> list[Warn]:
    """Return every reason to doubt a cell, the gravest kind first.

    A cell is judged once: the result stays with the record (as a cached property would).
    """
    known: tuple[Warn, ...] | None = vars(cell).get(_JUDGED)
    if known is None:
        known = tuple(warn for check in _CHECKS if (warn := check(cell)) is not None)
        vars(cell)[_JUDGED] = known
    return [*known]


def invalidating(cell: Cell) -> list[Warn]:
    """Return the reasons that make a cell invalid."""
    return [warn for warn in doubts(cell) if warn.invalidates]


def is_valid(cell: Cell) -> bool:
    """Tell whether there is no reason that makes a cell invalid."""
    return not invalidating(cell)


def is_disturbed(cell: Cell) -> bool:
    """Tell whether only outside causes make a cell invalid, so that measuring again may help."""
    causes = invalidating(cell)
    return bool(causes) and all(warn.outside for warn in causes)


def summary(cell: Cell) -> dict[str, Any]:
    """Return a cell without raw times as a JSON object.

    A percentile is None if there are too few answers, or if it is infinite.
    """
    shares = {f"p{rank}_ms": cell.percentile_ms(rank) for rank in (50, 90, 95, 99)}
    point, warns = cell.point, doubts(cell)
    return {
        "variant": point.variant,
        "stack": point.stack,
        "mode": point.load.mode,
        **asdict(point.load),
        "repeat": point.repeat,
        "attempt": cell.attempt,
        "qps": cell.qps,
        **{k: v if v is None or math.isfinite(v) else None for k, v in shares.items()},
        "failed": cell.failed,
        "wrong": cell.wrong,
        "valid": not any(warn.invalidates for warn in warns),
        "warnings": [asdict(warn) for warn in warns],
    }


def _wrong(cell: Cell) -> Warn | None:
    if not cell.wrong:
        return None
    advice = "check the variant, then the server: an answer changed under load"
    return Warn("wrong-answers", f"{cell.wrong} wrong answers", advice, True)


def _failures(cell: Cell) -> Warn | None:
    if not cell.requests:
        return Warn("no-requests", "no request was completed", "measure longer", True)
    if not cell.failed:
        return None
    kinds = ", ".join(sorted(cell.failures))
    seen = f"{cell.failed} of {cell.requests} requests failed ({kinds})"
    invalid = cell.failed / cell.requests > MAX_FAILURE_SHARE
    return Warn("failures", seen, "read the server's log, lower the load", invalid)


def _unanswered(cell: Cell) -> Warn | None:
    count = cell.failures.get(UNANSWERED, 0)
    if not count:
        return None
    seen = (
        f"{count} of the requests had no answer by their deadline; who sent them asked nothing more"
    )
    advice = "find out where requests are lost: the server, or what stands before it"
    invalid = count > UNANSWERED_SHARE * cell.load.users
    return Warn("unanswered", seen, advice, invalid, figures={"unanswered": str(count)})


def _changed(cell: Cell) -> Warn | None:
    if not cell.changes:
        return None
    seen = f"the machine changed during the run ({', '.join(cell.changes)})"
    return Warn("machine-changed", seen, "begin a new run on one machine", True)


def _saturated(cell: Cell) -> Warn | None:
    used, waiting = cell.generator_core_percent, min(cell.generator_wait_percent, 99.0) / 100
    wanted = used / (1 - waiting)  # the time it ran, and the time it waited for a core
    if wanted <= GENERATOR_CPU_LIMIT:
        return None
    seen = f"the generator used {used:.0f} % of one core and waited for it another"
    another = f"{wanted - used:.0f}"
    seen += f" {another} %"
    advice = "more generators: --processes, or workers on other machines"
    return Warn("generator-saturated", seen, advice, True, figures={"another": another})


def generator_late_limit_ms(cell: Cell) -> float:
    """Return how late the generator's heartbeat may be; beyond that, its times are not reliable."""
    median = float(np.median(cell.latencies_ms)) if cell.latencies_ms else 0.0
    return max(GENERATOR_LATE_LIMIT_MS, GENERATOR_LATE_SHARE * median)


def generator_delay_share(cell: Cell) -> float:
    """Return how much the generator's waiting for a core adds to the mean latency, as a share.

    It is an upper bound: all waiting is counted as part of requests.  If server and generator share
    a machine, the generator always waits a little; what matters is its effect on the latencies.
    """
    if not cell.latencies_ms or not cell.mean_ms:
        return 0.0
    used, waiting = cell.generator_core_percent / 100, min(cell.generator_wait_percent, 99.0) / 100
    waited = cell.generators * used * waiting / (1 - waiting)  # seconds a second
    return 1000 * waited / cell.qps / cell.mean_ms


def _starved(cell: Cell) -> Warn | None:
    late = cell.generator_late_ms > generator_late_limit_ms(cell)
    share = generator_delay_share(cell)
    others = (cell.other_cpu_percent or 0.0) > BUSY_PERCENT[1]  # then other processes make it wait
    pushed = others and cell.generator_wait_percent > GENERATOR_WAIT_PERCENT
    if not late and share <= GENERATOR_DELAY_SHARE and not pushed:
        return None
    added = f"{100 * share:.0f}"
    seen = f"the generator's heartbeat was {cell.generator_late_ms:.0f} ms late (P99), and its"
    seen += f" waiting for a core added {added} % to the mean latency"
    advice = "give the generator a core of its own, or generate the load from another machine"
    return Warn("generator-starved", seen, advice, True, outside=True, figures={"added": added})


def _throttled(cell: Cell) -> Warn | None:
    if cell.throttled_percent <= THROTTLED_PERCENT:
        return None
    seen = "the cgroup's CPU quota held processes back in"
    seen += f" {cell.throttled_percent:.0f} % of its periods"
    advice = "raise the quota, or give whole cores (a cpuset) instead of a quota"
    return Warn("throttled", seen, advice, True)


def _stolen(cell: Cell) -> Warn | None:
    mild, grave = STEAL_PERCENT
    if cell.steal_percent <= mild:
        return None
    seen = f"the host took {cell.steal_percent:.0f} % of the machine away"
    advice = "measure again, or on a dedicated host"
    return Warn("stolen", seen, advice, cell.steal_percent > grave, outside=True)


def _swapped(cell: Cell) -> Warn | None:
    if cell.swapped_bytes <= SWAPPED_BYTES:
        return None
    seen = f"the machine swapped {cell.swapped_bytes / SWAPPED_BYTES:.0f} MiB"
    return Warn("swapped", seen, "close other programs or use more memory", True, outside=True)


def _busy(cell: Cell) -> Warn | None:
    mild, grave = BUSY_PERCENT
    if cell.other_cpu_percent is None or cell.other_cpu_percent <= mild:
        return None
    seen = f"other processes used {cell.other_cpu_percent:.0f} % of the machine"
    advice = "stop them and measure again"
    return Warn("machine-busy", seen, advice, cell.other_cpu_percent > grave, outside=True)


def littles_users(cell: Cell) -> float:
    """Return how many users follow from throughput and latency (Little's law: L = rate x time)."""
    return cell.qps * cell.mean_ms / 1000


def _little(cell: Cell) -> Warn | None:
    if cell.load.is_open or cell.failed or cell.wrong or not cell.latencies_ms:
        return None
    inside = littles_users(cell)
    # The window's edges cut requests: those of all users at most, one latency each.
    cut = cell.mean_ms / (cell.seconds * 1000)
    if abs(inside - cell.load.users) <= (LITTLE_TOLERANCE + cut) * cell.load.users:
        return None
    seen = f"QPS x mean latency is {inside:.2f}, not {cell.load.users} users (Little's law)"
    advice = "measure again; if it stays so, --processes 2, or a plan with more seconds"
    return Warn("little", seen, advice, True, outside=True)


def _unstable(cell: Cell) -> Warn | None:
    windows = _windows(cell)
    if windows is None:
        return None
    rates = [len(window) / (cell.seconds / WINDOWS) for window in windows]
    name, unit, thirds = "", "", rates
    apart = (max(rates) - min(rates)) / (sum(rates) / len(rates))
    mild, grave = WINDOW_TOLERANCE
    noise = _noise(cell, windows)
    if apart > mild + noise:
        name = "QPS"
    elif _tails_differ(windows, mild):
        name, unit, thirds = "P95", " ms", [percentile(window, 95) or 0.0 for window in windows]
    if not name:
        return None
    invalidates = apart > grave + noise or _tails_differ(windows, grave)
    shown = ", ".join(f"{value:.3g}" for value in thirds)
    seen = f"{name} in thirds of the window: {shown}{unit}"
    advice = "a longer warm-up or window, or a quieter machine"
    figures = {"third": name, "thirds": shown}
    return Warn("unstable", seen, advice, invalidates, outside=True, figures=figures)


def _windows(cell: Cell) -> list[NDArray[np.float64]] | None:
    """Return the latencies of each third of the window; None if completion times are unknown."""
    if len(cell.ends_ms) != len(cell.latencies_ms) or len(cell.ends_ms) < WINDOWS * SUPPORT[50]:
        return None
    latencies = np.asarray(cell.latencies_ms, dtype=np.float64)
    place = np.asarray(cell.ends_ms) * WINDOWS / (cell.seconds * 1000)
    if cell.load.is_open:  # a request belongs to the third of its intended start
        place -= latencies * WINDOWS / (cell.seconds * 1000)
    third = np.clip(place.astype(int), 0, WINDOWS - 1)
    return [latencies[third == number] for number in range(WINDOWS)]


def _noise(cell: Cell, windows: Sequence[NDArray[np.float64]]) -> float:
    """Return the range that counts of three equal windows have by chance, relative to their mean.

    It is the 95th percentile: the range of three normal values is below 3.3 standard deviations
    in 95 of 100 cases.  Arrivals of an open loop are Poisson: the variance of a count n is n.  A
    closed loop's counts vary as its latencies do (renewal process: the variance is n times the
    squared coefficient of variation of the latencies).
    """
    typical = max(1.0, float(np.mean([len(window) for window in windows])))
    chance = RANGE_OF_THREE / np.sqrt(typical)
    if cell.load.is_open:
        return float(chance)
    spread = float(np.std(cell.latencies_ms) / np.mean(cell.latencies_ms))
    return float(chance * min(spread, 1.0))


def _tails_differ(windows: Sequence[NDArray[np.float64]], tolerance: float) -> bool:
    """Tell whether P95s of windows differ by more than a tolerance plus their sampling error."""
    bounds = [percentile_bounds(window, 95) for window in windows if len(window) >= SUPPORT[95]]
    if len(bounds) < len(windows):
        return False
    return max(low for low, _ in bounds) > min(high for _, high in bounds) * (1 + tolerance)


def hidden_wait_ms(cell: Cell) -> float | None:
    """Return the P99 of the time from a random moment to the next answer to *any* request.

    It is a lower bound for an open loop's P99.  While a server stalls, the users of a closed loop
    wait and send nothing, so the raw percentiles hide the stall ("coordinated omission", G. Tene).
    None for an open loop, or if completion times are unknown.
    """
    if cell.load.is_open or len(cell.ends_ms) < 2:
        return None
    whole, gaps = cell.seconds * 1000, _gaps_ms(cell)
    low, high = 0.0, float(gaps.max())
    while high - low > 0.01:  # bisect: the share of moments with a longer wait only falls
        middle = (low + high) / 2
        if np.clip(gaps - middle, 0, None).sum() > 0.01 * whole:
            low = middle
        else:
            high = middle
    return high


def _gaps_ms(cell: Cell) -> NDArray[np.float64]:
    """Return the times between neighbouring answers, and to the ends of the window."""
    ends = np.sort(np.asarray(cell.ends_ms))
    return np.diff(np.concatenate(([0.0], ends, [cell.seconds * 1000])))


def _hidden(cell: Cell) -> Warn | None:
    shown = cell.percentile_ms(99)
    if shown is None or cell.load.is_open or len(cell.ends_ms) < 2:
        return None
    if _gaps_ms(cell).max() <= STALL_FACTOR * shown:  # nobody can wait longer: no need to bisect
        return None
    wait = hidden_wait_ms(cell)
    if wait is None or wait <= STALL_FACTOR * shown:
        return None
    seen = f"the server stood still: who comes at any time waits {wait:.0f} ms (P99)"
    seen += f", the closed loop's P99 of {shown:.0f} ms hides it"
    return Warn("hides-stalls", seen, "measure with an open loop (a plan with 'rates')")


def _too_few(cell: Cell) -> Warn | None:
    if cell.percentile_ms(95) is not None:
        return None
    seen = f"{len(cell.latencies_ms)} answers are too few for a P95"
    return Warn("too-few", seen, "measure longer: a plan with more seconds")


_CHECKS = (
    _wrong, _failures, _unanswered, _changed, _saturated, _starved, _throttled, _stolen, _swapped,
    _busy, _little, _unstable, _hidden, _too_few,
)  # fmt: skip
CODES = (
    "wrong-answers", "no-requests", "failures", "unanswered", "machine-changed",
    "generator-saturated", "generator-starved", "throttled", "stolen", "swapped", "machine-busy",
    "little", "unstable", "hides-stalls", "too-few",
)  # fmt: skip
