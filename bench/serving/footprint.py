"""The footprint of a server: its start time, and its memory after some seconds of load."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ...server.bundle.sizing import Footprint
from ...server.settings import Settings
from ...toolkit.building.manifest import read_manifest
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.files import ARTIFACTS, KIBIBYTE
from ...toolkit.gate.gold import GoldSet
from ..load.sentences import ask, of_length, shuffled
from .accounting import memory
from .served import Served, in_force, serve

SENTENCES, CALLERS = 300, 16
ROUNDS = 2  # of full batches of the longest sentences


def measure(settings: Settings, gold: GoldSet, cores: int) -> Footprint:
    """Start a reference server on ``cores`` cores and return the time and memory it needs.

    It starts as in a new container, without weights prepared by an earlier start.  Raises
    InvalidMeasurementError if it does not start or does not answer.
    """
    manifest = read_manifest(settings.folder)
    settings = replace(settings, cache=0, join=False)  # the few sentences are all inferred
    longest = int(manifest.model.get("positions", 512))
    with (
        TemporaryDirectory() as empty_artifacts,
        serve("reference", settings, cores, {ARTIFACTS: empty_artifacts}) as server,
    ):
        force = in_force(server.target, manifest.variant)
        ordinary = [item.text for item in shuffled(gold, seed=0)]
        _ask(server, list(islice(cycle(ordinary), SENTENCES)), CALLERS)
        resident = _resident(server)
        long = of_length(settings.folder, gold, longest, seed=0)
        # Enough sentences at once to fill the batches of all streams.
        together = int(force["streams"]) * max(1, int(force["batch_tokens"]) // longest)
        _ask(server, list(islice(cycle(long), ROUNDS * together)), together)
        return Footprint(
            cores=cores,
            start_seconds=server.start_seconds,
            resident=resident,
            peak=max(resident, _resident(server), _high_water(server)),
            sentences=SENTENCES,
            callers=CALLERS,
            longest=longest,
            settings=force,
            day=f"{datetime.now(UTC):%Y-%m-%d}",
        )


def _ask(server: Served, texts: Sequence[str], callers: int) -> None:
    with ThreadPoolExecutor(callers) as pool:
        for _ in pool.map(lambda text: ask(server.target, [text]), texts):
            pass


def _resident(server: Served) -> int:
    if server.pid is None:
        raise InvalidMeasurementError(f"{server.url} is no process of ours: its memory is unknown")
    resident, proportional = memory(server.pid)
    # Proportional: weights mapped twice count once, as in a container's limit.
    return proportional or resident


def _high_water(server: Served) -> int:
    """Return the process's peak resident bytes (0 if the kernel does not report it)."""
    try:
        lines = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peaks[0]) * KIBIBYTE if peaks else 0
