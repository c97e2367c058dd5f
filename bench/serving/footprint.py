"""The footprint of a server: started once, asked for some seconds, its memory read."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from ...server.bundle.sizing import Footprint
from ...server.settings import Settings
from ...toolkit.building.manifest import read_manifest
from ...toolkit.errors import InvalidMeasurementError
from ...toolkit.files import ARTIFACTS
from ...toolkit.gate.gold import GoldSet
from ..load.sentences import ask, of_length, shuffled
from .accounting import memory
from .served import Served, in_force, serve

SENTENCES, CALLERS = 300, 16
ROUNDS = 2  # of full batches of the longest sentences
KIBIBYTE = 1024


def measure(settings: Settings, gold: GoldSet, cores: int) -> Footprint:
    """Start a reference server on so many cores and return what it takes.

    It starts as in a new container, where nothing has been kept prepared yet.  Raises
    InvalidMeasurementError if it does not start or does not answer.
    """
    manifest = read_manifest(settings.folder)
    longest = int(manifest.model.get("positions", 512))
    with (
        TemporaryDirectory() as nothing_kept,
        serve("reference", settings, cores, {ARTIFACTS: nothing_kept}) as server,
    ):
        force = in_force(server.url, manifest.variant)
        ordinary = [item.text for item in shuffled(gold, seed=0)]
        _ask(server, list(islice(cycle(ordinary), SENTENCES)), CALLERS)
        resident = _resident(server)
        long = of_length(settings.folder, gold, longest, seed=0)
        # Sentences this long find no company in a batch: as many at once as there are streams.
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
        for _ in pool.map(lambda text: ask(server.url, [text]), texts):
            pass


def _resident(server: Served) -> int:
    if server.pid is None:
        raise InvalidMeasurementError(f"{server.url} is no process of ours: its memory is unknown")
    resident, proportional = memory(server.pid)
    # Weights that two sessions map are there once, as a container's limit counts them.
    return proportional or resident


def _high_water(server: Served) -> int:
    """Return the most bytes the process ever had resident (0 where the kernel does not tell)."""
    try:
        lines = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * KIBIBYTE if found else 0
