"""The companion: a built-in model of another depth, behind the same server, with one user."""

from __future__ import annotations

from typing import Any

from ...toolkit.building.store import Store
from ...toolkit.gate.examination import ensure
from ...toolkit.gate.gold import GoldSet
from ...toolkit.models.builtin.catalogue import BUILTIN_6LAYER
from ...toolkit.runs.load import REFERENCE_STACK, Load
from ...toolkit.runs.point import Point
from ...toolkit.runs.validity import invalidating, is_disturbed
from ..load.generator import Generators
from ..sweep.ground import Ground
from ..sweep.measure import Window
from ..sweep.plan import Plan


def measure_companion(
    plan: Plan, gold: GoldSet, by: Generators, variant: str, model: str = BUILTIN_6LAYER
) -> dict[str, Any]:
    """Return size and latency of a companion's variant; it is built and gated if it is not yet.

    The window is the plan's.  A disturbed measurement is repeated as often as the plan says.
    """
    built = ensure(Store(model), [variant], gold)
    ground = Ground.of(built, gold, by)
    point = Point(variant, REFERENCE_STACK, Load(1))
    for attempt in range(1, plan.attempts + 1):
        cell = ground.measure(point, Window(plan.seconds, plan.warmup_seconds, attempt=attempt))
        if not is_disturbed(cell):
            break
    manifest = built[0].manifest
    return {
        "model": manifest.model["name"],
        "parameters": manifest.model["parameters"],
        "layers": manifest.model["layers"],
        "variant": variant,
        "digest": manifest.digest,
        "file_bytes": manifest.model_file_size,
        "users": 1,
        "requests": len(cell.latencies_ms),
        "mean_ms": round(cell.mean_ms, 3) if cell.latencies_ms else None,
        "p50_ms": cell.percentile_ms(50),
        "p95_ms": cell.percentile_ms(95),
        "invalid": [warn.code for warn in invalidating(cell)],
    }
