"""A model with a random head: every promise is kept, and every door says that it knows nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tiankong.toolkit.building.manifest import read_manifest, write_manifest
from tiankong.toolkit.building.recipes import REFERENCE
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.commands import build, check
from tiankong.toolkit.gate.examination import ensure
from tiankong.toolkit.gate.gold import find_gold, read_gold

GUESSES = "guessing would give"
SMALL = {"layers": 1, "max_position_embeddings": 64}
ITEMS = 24


@pytest.fixture
def random_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from family_models import save_family_model

    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return str(save_family_model(tmp_path / "model", "bert", **SMALL))


@pytest.fixture
def gold(tmp_path: Path) -> str:
    """A gold file of one's own: what the random model's vocabulary can answer of ours."""
    from family_models import characters

    known = characters()
    lines = [
        json.dumps({"id": i.id, "category": i.category, "text": i.text, "answer": i.answer})
        for i in read_gold().items
        if i.answer in known
    ][:ITEMS]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_every_door_says_so(
    random_model: str, gold: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check(random_model, REFERENCE, gold)  # raises nothing: the exit code stays 0
    printed = capsys.readouterr().out
    assert f"{REFERENCE}     passed  hit@1 " in printed
    assert printed.count("  warning: hit@5 is ") == printed.count(GUESSES) == 1

    check(random_model, REFERENCE, gold, as_json=True)
    (result,) = json.loads(capsys.readouterr().out)["variants"]
    assert (result["passed"], result["guessing"]["at_chance"]) == (True, True)
    assert GUESSES in result["warnings"][0]

    (built,) = Store(random_model).get([REFERENCE])
    recorded = read_manifest(built.folder).gate
    assert recorded is not None
    assert recorded["warnings"] == result["warnings"]

    build(random_model, REFERENCE)
    assert f"  warning: {result['warnings'][0]}" in capsys.readouterr().out
    ensure(Store(random_model), [REFERENCE], find_gold(gold))  # sweep, capacity, tune, compare
    said = capsys.readouterr().err.splitlines()
    assert said == [f"warning: {REFERENCE}: {result['warnings'][0]}"]


@pytest.mark.parametrize("lacking", ["guessing", "furthest"])
def test_a_result_from_before_is_not_taken_for_an_answer(
    random_model: str, gold: str, lacking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store, gold_set = Store(random_model), find_gold(gold)
    (built,) = ensure(store, [REFERENCE], gold_set)
    manifest = read_manifest(built.folder)
    assert manifest.gate is not None
    old = {k: v for k, v in manifest.gate.items() if k not in (lacking, "warnings")}
    write_manifest(built.folder, manifest.with_gate(old))
    capsys.readouterr()
    ensure(store, [REFERENCE], gold_set)
    assert GUESSES in capsys.readouterr().err
