"""A weight that a 16-bit float cannot hold is named; nothing is clipped in silence."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.graphs.half import require_fits_half, require_rounded


@pytest.mark.parametrize("value", [70000.0, -70000.0, 65520.0, np.inf])
def test_too_large_for_float16(value: float) -> None:
    with np.errstate(over="ignore"):
        assert np.isinf(np.float16(value))
    with pytest.raises(UnusableInputError, match="weight w is too large for float16: "):
        require_fits_half("w", np.array([1.0, value], dtype=np.float32))


@pytest.mark.parametrize("value", [65504.0, -65519.0, 1e-12])
def test_what_float16_holds_or_rounds_to_a_finite_number(value: float) -> None:
    assert np.isfinite(np.float16(value))
    require_fits_half("w", np.array([1.0, value], dtype=np.float32))


@pytest.mark.parametrize(
    ("kind", "value"), [(torch.float16, 70000.0), (torch.bfloat16, 3.4e38)], ids=["fp16", "bf16"]
)
def test_a_network_rounded_to_infinity(kind: torch.dtype, value: float) -> None:
    network = torch.nn.Linear(2, 2)
    most = torch.finfo(kind).max
    require_rounded(network, copy.deepcopy(network).to(kind), "16 bits", most)
    with torch.no_grad():
        network.bias[1] = value
    with pytest.raises(UnusableInputError, match="weight bias is too large for 16 bits: "):
        require_rounded(network, copy.deepcopy(network).to(kind), "16 bits", most)


def test_openvino_does_not_clip_a_weight(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    from openvino import opset13

    from tiankong.toolkit.graphs.conversion import store_half

    def saved(value: float) -> Path:
        given: Any = opset13.parameter([-1, 2], np.float32, name="x")
        weight = np.array([1.0, value], dtype=np.float32)
        lowest = np.float32(np.finfo(np.float32).min)  # as a mask has it: no weight
        total = opset13.add(opset13.add(given, weight), lowest)
        openvino.save_model(openvino.Model([total], [given]), tmp_path / "m.xml", False)
        return tmp_path / "m.xml"

    store_half(saved(3.0), tmp_path / "half.xml")
    with pytest.raises(UnusableInputError, match="is too large for float16: 70000"):
        store_half(saved(70000.0), tmp_path / "half.xml")
