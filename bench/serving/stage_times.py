"""Where a server's requests spend their time, as its metrics tell it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from http.client import HTTPException

from prometheus_client.parser import text_string_to_metric_families

from ...server.http.metrics import STAGE_SECONDS
from ...toolkit.files import MEBIBYTE
from ...toolkit.runs.stages import STAGES
from ..load.target import Target

ANSWER_SECONDS = 2.0
LARGEST = 8 * MEBIBYTE
FAMILY = f"tiankong_{STAGE_SECONDS}"

StageTimes = Mapping[str, tuple[float, float]]
"""By stage: seconds of all answered requests since the server's start, and their number."""


def stage_times(target: Target) -> StageTimes:
    """Return what a server has counted so far, all replicas together; empty if it does not tell."""
    try:
        with target.ask("/metrics", timeout=ANSWER_SECONDS) as response:
            families = list(text_string_to_metric_families(response.read(LARGEST).decode()))
    except (OSError, HTTPException, ValueError, KeyError, IndexError):  # it is another's server
        return {}
    sums: dict[str, float] = defaultdict(float)
    for family in families:
        for sample in family.samples if family.name == FAMILY else ():
            sums[sample.name.removeprefix(FAMILY) + sample.labels.get("stage", "")] += sample.value
    if not all(f"_{part}{stage}" in sums for stage in STAGES for part in ("sum", "count")):
        return {}
    return {stage: (sums[f"_sum{stage}"], sums[f"_count{stage}"]) for stage in STAGES}


def mean_ms(before: StageTimes, after: StageTimes) -> dict[str, float]:
    """Return the mean milliseconds a request spent in each stage between two moments.

    Empty if that is not known: the server does not tell, answered nothing, or began anew.

    >>> mean_ms({"read": (1.0, 100.0)}, {"read": (1.5, 350.0)})
    {'read': 2.0}
    """
    result = {}
    for stage in STAGES:
        if stage in before and stage in after:
            (earlier, begun), (later, ended) = before[stage], after[stage]
            if ended <= begun or later < earlier:
                return {}
            result[stage] = round((later - earlier) / (ended - begun) * 1000, 4)
    return result
