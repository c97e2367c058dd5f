"""What a plan asks for beside its cells, as things to measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ...toolkit.building.folders import Built
from ...toolkit.building.recipes import REFERENCE
from ...toolkit.gate.gold import GoldSet
from ...toolkit.runs.evidence import CEILINGS, DISTILBERT, IMAGE
from ..load.generator import ALONE, Generators
from ..sweep.beside import Beside
from ..sweep.plan import Plan


def things_beside(
    plan: Plan, variants: Sequence[Built], gold: GoldSet, by: Generators = ALONE
) -> list[Beside]:
    """Return what is to be measured beside a plan's cells of these variants, built and gated.

    The reference is left out where the plan does not name it: it is there for the gate.
    """
    measured = [v for v in variants if not plan.variants or v.manifest.variant in plan.variants]
    makers: Mapping[str, Callable[[], Iterator[Beside]]] = {
        CEILINGS: partial(_ceilings, measured, gold),
        DISTILBERT: partial(_distilbert, plan, gold, by),
        IMAGE: partial(_image, measured),
    }
    return [thing for name in plan.evidence for thing in makers[name]()]


def _ceilings(variants: Sequence[Built], gold: GoldSet) -> Iterator[Beside]:
    from ..explain.explanation import most_sentences

    for built in variants:
        if built.manifest.recipe.device != "cpu":
            continue  # the kernels that are measured are the CPU's
        yield Beside(CEILINGS, built.manifest.variant, partial(most_sentences, built.folder, gold))


def _distilbert(plan: Plan, gold: GoldSet, by: Generators) -> Iterator[Beside]:
    from .companion import measure_companion

    variant = plan.yardstick or REFERENCE
    yield Beside(DISTILBERT, "", partial(measure_companion, plan, gold, by, variant))


def _image(variants: Sequence[Built]) -> Iterator[Beside]:
    from .image import measure_image

    def measure() -> Mapping[str, Any]:
        return measure_image(variants)

    yield Beside(IMAGE, "", measure)
