"""Which things a plan wants beside its cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tiankong.bench.evidence.gathering import things_beside
from tiankong.bench.sweep.plan import Grid, Plan
from tiankong.toolkit.gate.gold import find_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

PLAN = Plan("tiny", (Grid((1,)),), 1.0, 0.3, evidence=("image", "ceilings", "distilbert"))


def names(plan: Plan, variants: dict[str, Built]) -> list[tuple[str, str]]:
    things = things_beside(plan, list(variants.values()), find_gold("builtin"))
    return [(thing.name, thing.key) for thing in things]


def test_a_ceiling_for_each_variant_the_rest_once(small_variants: dict[str, Built]) -> None:
    ceilings = [("ceilings", name) for name in small_variants]
    assert names(PLAN, small_variants) == [("image", ""), *ceilings, ("distilbert", "")]
    own = replace(PLAN, variants=("onnx-int8",))
    assert names(own, small_variants) == [
        ("image", ""),
        ("ceilings", "onnx-int8"),
        ("distilbert", ""),
    ]


def test_nothing_unless_the_plan_asks(small_variants: dict[str, Built]) -> None:
    assert names(replace(PLAN, evidence=()), small_variants) == []
