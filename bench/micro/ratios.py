"""Ratios of speed inside one run: each variant against the baseline, round by round.

Every round times the baseline and then the variant, so both meet the machine in the same state.  A
ratio is taken within each round; the result is the median of the rounds with its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tiankong.toolkit.stats import percentile_bounds

BASELINE = "onnx-fp32"


@dataclass(frozen=True)
class Paired:
    """The rounds of one benchmark: seconds of the variant and of the baseline, pair by pair."""

    what: str
    variant: str
    batch: int
    length: int | None
    seconds: Sequence[float]
    baseline_seconds: Sequence[float]

    def ratio(self) -> PairedRatio:
        """Return the ratio of speeds (above 1: the variant is faster than the baseline)."""
        pairs = np.asarray(self.baseline_seconds) / np.asarray(self.seconds)
        low, high = percentile_bounds(pairs.tolist(), 50)
        return PairedRatio(
            self.what, self.variant, self.batch, self.length, float(np.median(pairs)), low, high,
            len(pairs), float(np.median(self.seconds)) * 1000,
            float(np.median(self.baseline_seconds)) * 1000,
        )  # fmt: skip


@dataclass(frozen=True)
class PairedRatio:
    """A variant's speed over the baseline's with its 95 % interval; ``length`` None: mixed.

    ``ms`` and ``baseline_ms`` are median times of one call, valid for this machine only.
    """

    what: str
    variant: str
    batch: int
    length: int | None
    ratio: float
    low: float
    high: float
    rounds: int
    ms: float
    baseline_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the ratio as a JSON object."""
        return asdict(self)


def markdown(model: str, ratios: Sequence[PairedRatio]) -> str:
    """Return the table of a run, as Markdown."""
    lines = [
        f"Speed of each variant of `{model}` over that of `{BASELINE}` in the same round"
        " (median of rounds, 95 % interval). Milliseconds are local to this machine.",
        "",
        "| what | variant | batch | tokens | speed ratio | rounds | ms | baseline ms |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *_rows(ratios),
    ]
    return "\n".join(lines) + "\n"


def _rows(ratios: Sequence[PairedRatio]) -> Iterator[str]:
    for each in ratios:
        length = "mixed" if each.length is None else each.length
        yield (
            f"| {each.what} | {each.variant} | {each.batch} | {length}"
            f" | {each.ratio:.2f} ({each.low:.2f}–{each.high:.2f}) | {each.rounds}"
            f" | {each.ms:.4g} | {each.baseline_ms:.4g} |"
        )
