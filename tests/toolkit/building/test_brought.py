"""The variant that a file becomes, and how the gate judges it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pytest
from brought_files import (
    TEXTS,
    changed,
    renamed_output,
)
from onnx import numpy_helper

from tiankong.toolkit.building.brought import bring, variant_name
from tiankong.toolkit.building.manifest import read_manifest, write_manifest
from tiankong.toolkit.building.offer import Offer, read_promised_offer
from tiankong.toolkit.building.recipes import Promise
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.gate.examination import ensure, gate
from tiankong.toolkit.gate.gold import HELDOUT, find_gold

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


def test_the_same_files_are_kept_others_take_their_place(source: Path, words: Path) -> None:
    target = words.parent / "model.onnx"
    shutil.copy(source, target)
    first = bring(Offer(target, words))
    assert (first.skipped, bring(Offer(target, words)).skipped) == (False, True)
    manifest = first.manifest
    assert (manifest.variant, manifest.recipe.steps) == ("own-model", ())
    assert manifest.model["name"] == "words"
    assert (manifest.notes["file"], len(manifest.notes["sha256"])) == ("model.onnx", 64)
    assert manifest.notes["sha256"][:12] in manifest.recipe.summary
    changed(source, target, renamed_output)
    second = bring(Offer(target, words))
    assert not second.skipped
    assert second.manifest.digest != first.manifest.digest


def test_a_promise_and_its_gate_last_until_another_is_asked_for(source: Path, words: Path) -> None:
    strict = Offer(source, words, promise=Promise(hit_at_5=0.6))
    first = bring(strict)
    write_manifest(first.folder, first.manifest.with_gate({"passed": True}))
    for kept in (strict, replace(strict, promise=None)):
        again = bring(kept)
        assert again.skipped
        assert again.manifest.recipe.promise.hit_at_5 == 0.6
        assert again.manifest.gate == {"passed": True}
    other = bring(Offer(source, words))
    assert other.skipped
    assert (other.manifest.recipe.promise, other.manifest.gate) == (Promise(), None)
    assert read_manifest(other.folder) == other.manifest


def test_a_promise_outlasts_a_change_of_the_file(source: Path, words: Path, tmp_path: Path) -> None:
    target = changed(source, tmp_path / "mine.onnx", lambda model: None)
    bring(Offer(target, words, promise=Promise(hit_at_5=0.6)))
    changed(source, target, renamed_output)
    again = bring(Offer(target, words, promise=None))
    assert not again.skipped
    assert again.manifest.recipe.promise.hit_at_5 == 0.6


def test_without_a_model_only_gold_hits_are_judged(source: Path, words: Path) -> None:
    lines = [{"id": a, "category": "c", "text": TEXTS[0], "answer": a} for a in ("霜", "上")]
    path = words / "gold.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    gold = find_gold(str(path))
    store = Store("", offer=Offer(source, words))
    built = store.get()
    result = gate(store, built, gold).checks[0]
    assert (result.passed, result.judged, result.hit_at_5) == (True, False, 0.5)
    assert result.agreement is None
    judged = gate(store, built, gold).as_json()
    json.dumps(judged, allow_nan=False)
    assert judged["model"] == "words"
    (again,) = ensure(store, [], gold)
    assert again.manifest.gate is not None
    strict = Store("", offer=Offer(source, words, promise=Promise(hit_at_5=0.6)))
    result = gate(strict, strict.get(), gold).checks[0]
    assert (result.passed, result.judged) == (False, True)
    assert "promised at least 60.0%" in result.reasons[0]


def test_with_a_model_it_is_held_to_its_reference(
    small_variants: dict[str, Built], source: Path, words: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts = small_variants["onnx-fp32"].folder.parents[2]
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(artifacts))
    path = words / "gold.jsonl"
    path.write_text("\n".join(HELDOUT.read_text(encoding="utf-8").splitlines()[:12]), "utf-8")
    gold = find_gold(str(path))

    def reject(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            if "layer.1.intermediate.dense.bias" in tensor.name:
                values = numpy_helper.to_array(tensor) + 3
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    target = changed(source, words.parent / "spoilt.onnx", reject)
    for file, passes in ((source, True), (target, False)):
        offer = read_promised_offer(file, words, "builtin-small", "onnx-fp32", None)
        assert offer is not None
        store = Store("builtin-small", offer=offer)
        built = store.get()
        judged = gate(store, built, gold)
        result = judged.checks[0]
        assert (judged.model, result.passed) == ("builtin-small", passes)
        assert result.agreement is not None
        assert bool(result.agreement.flipped) != passes
        shutil.rmtree(built[0].folder)


def test_names() -> None:
    assert variant_name(Path("/a/Model_INT8.quant.onnx")) == "own-model-int8-quant"
    assert variant_name(Path("模型.onnx")) == "own-model"
    assert len(variant_name(Path("x" * 99))) == 41
