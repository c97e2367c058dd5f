"""Files of an earlier version can still be read: run files, a variant, its prepared weights.

``data/before`` was made on a machine with two cores by the version before the package was divided
into rooms.  ``expected.json`` contains what that version read from the files.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines import prepared
from tiankong.toolkit.machine import processor
from tiankong.toolkit.runs.run_file import append_cell, create_run, read_run
from tiankong.toolkit.runs.validity import summary

BEFORE = Path(__file__).parent / "data" / "before"
EXPECTED: dict[str, Any] = json.loads((BEFORE / "expected.json").read_text(encoding="utf-8"))
VARIANT = BEFORE / "onnx-int8"


def with_warning_codes(cell: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's figures with only the codes of its warnings: their words may change."""
    return cell | {"warnings": [warning["code"] for warning in cell["warnings"]]}


@pytest.mark.parametrize("name", sorted(EXPECTED["runs"]))
def test_a_run_file_says_what_it_said(name: str) -> None:
    cells = [json.loads(json.dumps(summary(c))) for c in read_run(BEFORE / f"{name}.jsonl").cells]
    assert [with_warning_codes(cell) for cell in cells] == [
        with_warning_codes(cell) for cell in EXPECTED["runs"][name]
    ]


def test_a_run_is_written_as_it_was(tmp_path: Path) -> None:
    path = BEFORE / "run_format_2.jsonl"
    run = read_run(path)
    create_run(tmp_path / "run.jsonl", run.header)
    for cell in run.cells:
        append_cell(tmp_path / "run.jsonl", cell, run.header.sealed)
    assert (tmp_path / "run.jsonl").read_text() == path.read_text()


def test_a_variant_keeps_its_digest_and_its_answers() -> None:
    assert read_manifest(VARIANT).digest == EXPECTED["digest"]
    ((ranking,),) = open_variant(VARIANT).predict([EXPECTED["text"]])
    tokens, scores = zip(*EXPECTED["top"], strict=True)
    assert [entry.token for entry in ranking] == list(tokens)
    assert [entry.score for entry in ranking] == pytest.approx(scores, abs=1e-5)


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(BEFORE / "prepared", tmp_path / "prepared")
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    return tmp_path


def test_prepared_weights_are_known_again(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    versions = {"onnxruntime": EXPECTED["onnxruntime"]}
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: versions.get(name) or version(name)
    )
    monkeypatch.setattr(prepared, "processor", lambda: EXPECTED["processor"])
    folder = prepared.find(EXPECTED["digest"], "onnxruntime")
    assert folder is not None
    assert folder.parent == artifacts / "prepared"
    assert prepared.recall(folder, "streams, of 2 at most, with batches of 8") == 1


def test_prepared_weights_are_run_where_they_were_made(artifacts: Path) -> None:
    here = (processor(), importlib.metadata.version("onnxruntime"))
    if here != (EXPECTED["processor"], EXPECTED["onnxruntime"]):
        pytest.skip("another CPU or another onnxruntime than they were made for")
    before = sorted(p.name for p in (artifacts / "prepared").iterdir() if p.name != ".lock")
    predictor = open_variant(VARIANT, share=True)
    ((ranking,),) = predictor.predict([EXPECTED["text"]])
    assert [entry.token for entry in ranking] == [token for token, _ in EXPECTED["top"]]
    after = sorted(p.name for p in (artifacts / "prepared").iterdir() if p.name != ".lock")
    assert after == before
