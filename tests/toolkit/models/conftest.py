"""Folders of small models of every family, to be changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from family_models import KINDS, save_family_model

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]
    Change = Callable[[Tensors], Tensors]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("right")
    return {kind: save_family_model(place / kind, kind, layers=1) for kind in KINDS}


@pytest.fixture
def copy(
    saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Path]:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return lambda kind: Path(shutil.copytree(saved[kind], tmp_path / kind))
