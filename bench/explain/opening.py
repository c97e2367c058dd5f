"""Open the subject that fits a variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...toolkit.building.manifest import read_manifest
from ...toolkit.errors import UnusableInputError
from .ceilings import OPENVINO, TORCH, installed
from .onnx_subject import OnnxSubject
from .openvino_subject import OpenvinoSubject
from .torch_subject import TorchSubject
from .workload import BF16

if TYPE_CHECKING:
    from .subject import Subject


def open_subject(folder: Path, scratch: Path) -> Subject:
    """Return the subject of a variant's engine; raise UnusableInputError if there is none."""
    engine = read_manifest(folder).recipe.engine
    match engine:
        case "onnxruntime":
            subject: Subject = OnnxSubject(folder, scratch)
        case "pytorch":
            subject = TorchSubject(folder, scratch)
        case "openvino":
            subject = OpenvinoSubject(folder, scratch)
        case other:
            raise UnusableInputError(f"{folder}: 'explain' knows no engine {other!r}")
    if not {TORCH, OPENVINO} & set(subject.kernels) and installed(TORCH):
        subject.kernels = {**subject.kernels, TORCH: (BF16,)}
    return subject
