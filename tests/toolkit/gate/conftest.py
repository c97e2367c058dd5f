"""The gate over a few items, for variants that are damaged on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tiankong.toolkit.gate.gold import GoldSet, read_gold

if TYPE_CHECKING:
    from planted_damage import Greenhouse

    from tiankong.toolkit.building.folders import Built
    from tiankong.toolkit.gate.examination import Asked, Exam


@pytest.fixture(scope="session")
def reference_asked(small_variants: dict[str, Built]) -> tuple[Exam, Asked]:
    """Every eighth gold item and all probes, and what the reference answers."""
    from tiankong.toolkit.building.opening import open_variant
    from tiankong.toolkit.gate.examination import Exam, ask

    gold, reference = read_gold(), small_variants["pytorch-fp32"]
    predictor = open_variant(reference.folder)
    exam = Exam.of(GoldSet(gold.name, "eighth", gold.items[::8]), predictor.encoder)
    return exam, ask(predictor, reference.manifest, exam)


@pytest.fixture
def greenhouse(
    small_variants: dict[str, Built], reference_asked: tuple[Exam, Asked], tmp_path: Path
) -> Greenhouse:
    from planted_damage import Greenhouse

    return Greenhouse(small_variants, *reference_asked, tmp_path)
