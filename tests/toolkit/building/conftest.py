"""A file to bring, its tokenizer, and an artifacts folder for the variant made of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An artifacts folder of the test's own."""
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path


@pytest.fixture
def words(small_variants: dict[str, Built], own: Path) -> Path:
    """A folder with the tokenizer, as tokenizer.json."""
    folder = own / "words"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(small_variants["onnx-fp32"].folder / name, folder / name)
    return folder


@pytest.fixture
def source(small_variants: dict[str, Built]) -> Path:
    return small_variants["onnx-fp32"].folder / "onnx" / "model.onnx"


@pytest.fixture(scope="module")
def expected(small_variants: dict[str, Built]) -> list[Any]:
    from brought_files import TEXTS

    from tiankong.toolkit.building.opening import open_variant

    return open_variant(small_variants["onnx-fp32"].folder).predict(TEXTS)
