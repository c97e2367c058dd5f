"""8 bits keep their promises on a network with channels out of line after every normalization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from outlier_models import save_large_channels

from tiankong.toolkit.building.store import Store
from tiankong.toolkit.gate.examination import gate
from tiankong.toolkit.gate.gold import find_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

EIGHT_BITS = ("onnx-int8", "onnx-int8-small", "openvino-int8")
MOST_KEPT = 0.1  # of the multiply-adds, in float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_large_channels(tmp_path_factory.mktemp("models") / "norms")


def test_eight_bits_pass_the_gate(
    small_variants: dict[str, Built], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    names = ["pytorch-fp32", *(name for name in EIGHT_BITS if name in small_variants)]
    store = Store(str(folder))
    built = store.build(names)
    checks = gate(store, built, find_gold("builtin")).checks
    assert checks[0].hit_at_1 > 0.85  # the outliers have left it its answers
    assert {check.variant: check.reasons for check in checks} == {name: [] for name in names}
    for one in built[1:]:
        facts = one.manifest.notes["eight_bits"]
        assert facts["within_budget"]
        assert sum(facts.get("float32", {}).values()) < MOST_KEPT


def test_an_ordinary_network_keeps_nothing_in_float32(small_variants: dict[str, Built]) -> None:
    for name in EIGHT_BITS:
        if name in small_variants:
            facts = small_variants[name].manifest.notes["eight_bits"]
            assert facts["within_budget"], name
            assert "float32" not in facts, name
