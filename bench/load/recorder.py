"""The recorder: raw results of the requests of a window or block, in memory until its end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...toolkit.engines.outputs import TOP
from ...toolkit.engines.predictor import Ranked, Ranking
from ...toolkit.gate.answers import same_answer
from .dialects import DIALECTS, PREDICT

SHOWN_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Result:
    """One finished request; times are seconds on the generator's clock.

    ``due`` is the intended start (in a closed loop: when it was sent); ``answer`` is the body of
    the response, empty after an error; ``places`` are the indices of the sentences sent.
    """

    due: float
    sent: float
    end: float
    error: BaseException | None = None
    answer: bytes = b""
    target: int = 0
    places: Sequence[int] = ()


@dataclass
class Recorder:
    """Results in order of completion; ``waiting``: intended starts of unanswered requests."""

    results: list[Result] = field(default_factory=list)
    waiting: set[float] = field(default_factory=set)

    def begin(self, due: float) -> None:
        """Add a request that is due."""
        self.waiting.add(due)

    def finish(self, result: Result) -> None:
        """Add the result of a request that was begun."""
        self.waiting.discard(result.due)
        self.results.append(result)

    def missing(self, opened: float, closed: float) -> int:
        """Return how many requests that were due in a window have no result yet."""
        return sum(opened <= due < closed for due in self.waiting)

    def unanswered(self, closed: float) -> list[float]:
        """Return when the requests were due that were begun before ``closed`` and have no result.

        A closed loop's window has what ended in it, so a request without an end is in no window.
        """
        return [due for due in self.waiting if due < closed]

    def window(
        self,
        opened: float,
        closed: float,
        is_open_loop: bool,
        wrong: Callable[[Result], str] = lambda _: "",
    ) -> dict[str, Any]:
        """Return the samples of a window (see :class:`~.generator.Samples`).

        Open loop: requests due in it, whenever they were answered.  Closed loop: requests that
        ended in it.  ``wrong`` returns what is wrong with an answer, or "".  Answers are checked
        here and not on arrival: that would take CPU time from the server while it is measured.
        """
        inside = [
            result
            for result in self.results
            if opened <= (result.due if is_open_loop else result.end) < closed
        ]
        faults = [result.error or wrong(result) for result in inside]
        right = [result for result, fault in zip(inside, faults, strict=True) if not fault]
        faulty = [fault for fault in faults if fault]
        failed = [fault for fault in faulty if isinstance(fault, BaseException)]
        return {
            "seconds": closed - opened,
            "latencies_ms": [_ms(result.end - result.due) for result in right],
            "ends_ms": [_ms(result.end - opened) for result in right],
            "late_ms": [_ms(result.sent - result.due) for result in right] if is_open_loop else [],
            "failures": dict(Counter(reason(error) for error in failed)),
            "wrong": len(faulty) - len(failed),
            "examples": [str(fault)[:300] for fault in faulty[:SHOWN_EXAMPLES]],
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def reason(error: BaseException) -> str:
    """Return a failure's kind: ``HTTP 503``, or an exception's name."""
    status = getattr(error, "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__


def wrong_answer(
    text: str, body: bytes | str, expected: Sequence[Ranking], dialect: str = PREDICT
) -> str:
    """Return what is wrong with a response to one sentence or to a batch, or ""."""
    try:
        answers = DIALECTS[dialect].answers(json.loads(body))
        rankings = [[Ranked(*entry) for entry in answer] for answer in answers]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{text}: not an answer ({error!r})"
    if len(rankings) != len(expected):
        return f"{text}: {len(rankings)} answers to {len(expected)} sentences"
    for wanted, ranking in zip(expected, rankings, strict=True):
        right = [Ranked(token, score) for token, score in wanted]  # from JSON they are lists
        if len(ranking) != TOP or not same_answer(right, ranking):
            tokens = "".join(token for token, _ in ranking)
            return f"{text}: {tokens}, not {''.join(token for token, _ in right[:TOP])}"
    return ""


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the samples of several generators as one, in order of completion."""
    ends = np.asarray([end for part in parts for end in part["ends_ms"]])
    order = np.argsort(ends, kind="stable")

    def column(name: str) -> list[float]:
        values = [value for part in parts for value in part[name]]
        return [values[place] for place in order] if values else []

    failures: Counter[str] = Counter()
    for part in parts:
        failures.update(part["failures"])
    return {
        "seconds": float(np.mean([part["seconds"] for part in parts])),
        **{name: column(name) for name in ("latencies_ms", "ends_ms", "late_ms")},
        "failures": dict(failures),
        "wrong": sum(part["wrong"] for part in parts),
        "examples": [text for part in parts for text in part["examples"]][:SHOWN_EXAMPLES],
        "core_percent": max(part["core_percent"] for part in parts),
        "wait_percent": max(part["wait_percent"] for part in parts),
        "heartbeat_ms": max(part["heartbeat_ms"] for part in parts),
        "generators": len(parts),
    }
