"""CPU cores: how a server's batches use them, and how many each replica gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...toolkit.console import say
from ...toolkit.machine import usable_cores
from ..settings import Settings

if TYPE_CHECKING:
    from ...toolkit.engines.predictor import Predictor


def open_served(settings: Settings, cores: int = 0, tell: Callable[[str], None] = say) -> Predictor:
    """Open the predictor as the reference server uses it, on ``cores`` cores (0: all usable ones).

    Batches share the cores, except in two cases: the settings give each batch its own threads, or
    packed weights cannot be stored here (then ``tell`` is called with one line).  Servers on one
    machine map the same packed weights into memory.  Raises UnusableInputError as
    :func:`.open_variant` does.
    """
    from ...toolkit.building.opening import open_variant
    from ...toolkit.engines.prepared import NotPreparedError

    if not settings.threads and not settings.spin:
        try:
            return open_variant(settings.folder, share=True, cores=cores)
        except NotPreparedError as error:
            own = " of its replica, which has weights of its own" if cores else ""
            tell(
                f"{error}; every batch gets all cores{own}"
                " (a writable TIANKONG_ARTIFACTS fixes that)"
            )
    return open_variant(settings.folder, settings.threads or cores, spin=settings.spin)


def cores_each(replicas: int) -> int:
    """Return how many of the usable cores each replica gets: at least one."""
    return max(1, usable_cores() // max(1, replicas))
