"""The package from Python: the examples of docs/python.md, run as they stand."""

from __future__ import annotations

import doctest
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas
import pytest

import tiankong

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.timeout(600)
def test_the_examples_of_the_page(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_variants["onnx-int8"].folder.parent
    shutil.copytree(folder, tmp_path / "artifacts" / "variants" / folder.name)
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testfile(
        str(PAGE), module_relative=False, encoding="utf-8",
        optionflags=doctest.ELLIPSIS | doctest.REPORT_ONLY_FIRST_FAILURE,
    )  # fmt: skip
    assert outcome.attempted > 20
    assert outcome.failed == 0


def test_importing_the_package_imports_only_the_switches_of_telemetry() -> None:
    program = "import sys, tiankong; print(*(m for m in sys.modules if m.startswith('tiankong.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["tiankong.toolkit", "tiankong.toolkit.telemetry"], done.stderr


def test_every_public_name_is_there() -> None:
    for name in tiankong.__all__:
        assert getattr(tiankong, name).__doc__, name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tiankong.nonsense


def test_a_frame_needs_pandas_and_has_a_row_a_cell() -> None:
    run_file = PAGE.parents[1] / "reports" / "pages" / "run.jsonl"
    frame = tiankong.frame(run_file)
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(tiankong.records(run_file))
