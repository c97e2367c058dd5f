"""Real variants of builtin-small with real damage.

Every damaged copy gets a manifest that matches its files, so that only its answers can give it
away.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.manifest import read_manifest, record_files, write_manifest
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.gate.examination import Asked, Exam, examine
from tiankong.toolkit.gate.judging import Check

Weights = dict[str, np.ndarray]
Change = Callable[[str, np.ndarray], "np.ndarray | None"]


@dataclass(frozen=True)
class Greenhouse:
    """Copies a variant, damages the copy, and runs the gate on it."""

    variants: dict[str, Built]
    exam: Exam
    standard: Asked
    place: Path

    def check(self, variant: str, spoil: Callable[[Path], None]) -> Check:
        """Return the gate's result for a damaged copy, under the variant's own promise."""
        folder = self.place / variant
        shutil.copytree(self.variants[variant].folder, folder)
        spoil(folder)
        manifest = read_manifest(folder)
        manifest = replace(manifest, variant="planted", files=record_files(folder))
        write_manifest(folder, manifest)
        return examine(open_variant(folder), manifest, self.exam, self.standard)


def rejected(result: Check) -> None:
    assert not result.passed, result.agreement
    assert result.reasons


def harmless(result: Check) -> None:
    assert result.passed, result.reasons
    assert result.agreement is not None
    assert result.agreement.max_delta < 1e-5
    assert result.agreement.far.mean < 1e-8


def spoil_weights(change: Change) -> Callable[[Path], None]:
    """Return a function that applies a change to every weight of a folder (None: leave it)."""

    def spoil(folder: Path) -> None:
        touched = 0
        if (path := folder / "model.safetensors").exists():
            weights = load_file(path)
            for name, weight in weights.items():
                if (new := change(name, weight)) is not None:
                    weights[name] = np.ascontiguousarray(new, weight.dtype)
                    touched += 1
            save_file(weights, path, {"format": "pt"})
        for path in folder.rglob("*.onnx"):
            model = onnx.load(str(path))
            for tensor in model.graph.initializer:
                weight = numpy_helper.to_array(tensor)
                if (new := change(tensor.name, weight)) is not None:
                    made = np.ascontiguousarray(new, weight.dtype)
                    tensor.CopyFrom(numpy_helper.from_array(made, tensor.name))
                    touched += 1
            onnx.save(model, str(path))
        assert touched, "the plant found no weight"

    return spoil


def zeroed(layer: int, matrix: str) -> Change:
    """Set one matrix of a layer to zero; a fused graph has query, key and value in one matrix."""
    part = {"query": 0, "key": 1, "value": 2}.get(matrix.rsplit(".", 1)[-1])

    def change(name: str, weight: np.ndarray) -> np.ndarray | None:
        if weight.ndim == 2 and part is not None and f"Attention_{layer}_qkv_weight" in name:
            if weight.shape[0] == weight.shape[1]:  # the last layer has them as separate matrices
                matches = matrix.rsplit(".", 1)[-1] in name
                return np.zeros_like(weight) if matches else None
            spoiled = weight.copy()
            width = weight.shape[1] // 3
            spoiled[:, part * width : (part + 1) * width] = 0
            return spoiled
        if weight.ndim == 2 and f"layer.{layer}.{matrix}.weight" in name:
            return np.zeros_like(weight)
        return None

    return change
