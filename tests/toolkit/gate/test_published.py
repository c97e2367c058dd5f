"""A model compared with published predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.commands import print_gate
from tiankong.toolkit.engines.predictor import Predictor
from tiankong.toolkit.gate import examination as checking
from tiankong.toolkit.gate.gold import FOLDER, GoldSet, read_gold
from tiankong.toolkit.gate.published import GEOMETRY, PUBLISHED, hold, read_facts

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

CHECKPOINT = "google-bert/bert-base-chinese"
TEXTS = [
    "生活的真谛是[MASK]。",
    "中国的首都是[MASK][MASK]。我爱这个城市。",
    "今天[MASK]气不错，心情很好",
]


@pytest.fixture(scope="module")
def predictor(small_variants: dict[str, Built]) -> Predictor:
    return open_variant(small_variants["pytorch-fp32"].folder)


def fact(predictor: Predictor, text: str, digits: int | None) -> dict[str, Any]:
    (masks,) = predictor.predict([text], 5)
    per_mask = len(masks) > 1
    shown = [mask[0] for mask in masks] if per_mask else masks[0]
    ids = predictor.encoder.vocabulary
    top = [
        {
            "token": entry.token,
            "token_id": ids[entry.token],
            "score": None if digits is None else round(entry.score, digits),
        }
        for entry in (shown if digits is not None else shown[:1])
    ]
    return {"model": "somebody/some-bert", "text": text, "top": top, "per_mask": per_mask,
            "source": "a test"}  # fmt: skip


@pytest.fixture
def facts(predictor: Predictor) -> list[dict[str, Any]]:
    """What the small model answers, as published by three people with different habits."""
    return [
        fact(predictor, text, digits)
        for text, digits in zip(TEXTS, (16, 3, None), strict=True)
    ] + [fact(predictor, TEXTS[0], 2)]  # fmt: skip


def written(tmp_path: Path, facts: list[dict[str, Any]]) -> list[Path]:
    path = tmp_path / "facts.jsonl"
    path.write_text("\n".join(json.dumps(f) for f in facts), encoding="utf-8")
    return [path]


def test_the_model_itself_agrees(
    predictor: Predictor, facts: list[dict[str, Any]], tmp_path: Path
) -> None:
    publication = hold(
        predictor, {"name": "mine", "source": "folder"}, read_facts(written(tmp_path, facts))
    )
    assert publication is not None
    assert publication.same, [str(d) for d in publication.differences]
    assert (publication.checkpoint, publication.facts, publication.named) == (
        "somebody/some-bert",
        4,
        False,
    )


def _score(facts: list[dict[str, Any]]) -> None:
    facts[0]["top"][2]["score"] += 0.0021


def _order(facts: list[dict[str, Any]]) -> None:
    top = facts[0]["top"]
    top[0], top[1] = top[1], top[0]


def _second_mask(facts: list[dict[str, Any]]) -> None:
    facts[1]["top"].reverse()


def _without_score(facts: list[dict[str, Any]]) -> None:
    facts[2]["top"][0] |= {"token": facts[0]["top"][0]["token"],
                           "token_id": facts[0]["top"][0]["token_id"]}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "place"), [(_score, 0), (_order, 0), (_second_mask, 1), (_without_score, 2)]
)
def test_what_differs_is_named(
    change: Callable[[list[dict[str, Any]]], None], place: int,
    predictor: Predictor, facts: list[dict[str, Any]], tmp_path: Path,
) -> None:  # fmt: skip
    change(facts)
    publication = hold(predictor, {"name": "mine"}, read_facts(written(tmp_path, facts)))
    assert publication is not None
    assert not publication.same
    first = publication.differences[0]
    assert first.text == TEXTS[place]
    assert any(t["token"] == first.token for t in facts[place]["top"])
    assert f"id {first.token_id}" in str(first)


def test_a_model_with_other_ids_is_not_asked(
    predictor: Predictor, facts: list[dict[str, Any]], tmp_path: Path
) -> None:
    facts[0]["top"][0]["token_id"] += 1
    paths = written(tmp_path, facts)
    assert hold(predictor, {"name": "mine"}, read_facts(paths)) is None
    publication = hold(predictor, {"name": "somebody/some-bert"}, read_facts(paths))
    assert publication is not None  # it has the checkpoint's name, so the facts apply
    assert publication.named
    assert not publication.same


def test_geometry_decides_as_well(
    predictor: Predictor, facts: list[dict[str, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(GEOMETRY, "somebody/some-bert", {"layers": 12})  # type: ignore[index]
    known = read_facts(written(tmp_path, facts))
    assert hold(predictor, {"name": "mine", "layers": 4}, known) is None
    assert hold(predictor, {"name": "mine", "layers": 12}, known) is not None


def test_the_facts_that_ship() -> None:
    facts = read_facts()
    assert len([f for f in facts if f.model == CHECKPOINT]) == 14
    assert set(GEOMETRY) <= {f.model for f in facts}
    assert all(f.source and f.top for f in facts)
    text = (FOLDER / "published_predictions.jsonl").read_text(encoding="utf-8")
    assert "，" in text  # full-width punctuation is part of the facts
    assert all(path.is_file() for path in PUBLISHED)


def test_the_built_in_model_does_not_pass_for_another(predictor: Predictor) -> None:
    model = {"name": "mine", "source": "folder", "layers": 12, "hidden": 768, "vocabulary": 21128}
    assert hold(predictor, model, read_facts()) is None


@pytest.fixture
def few() -> GoldSet:
    gold = read_gold()
    return GoldSet(gold.name, "few", gold.items[:3])


def test_check_says_it(
    small_variants: dict[str, Built], facts: list[dict[str, Any]], tmp_path: Path, few: GoldSet,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    reference = small_variants["pytorch-fp32"]
    gated = checking.gate(Store("builtin-small"), [reference], few)
    print_gate(gated)
    assert "this is the checkpoint builtin: 61 predictions agree" in capsys.readouterr().out
    assert gated.as_json()["published"]["same"] is True
    for change, said in ((None, "this is the published"), (_score, "this is not the published")):
        if change:
            change(facts)
        known = read_facts(written(tmp_path, facts))
        monkeypatch.setattr(checking, "read_facts", lambda known=known: known)
        gated = checking.gate(Store("builtin-small"), [reference], few)
        print_gate(gated)
        assert f"{said} checkpoint somebody/some-bert" in capsys.readouterr().out
        assert gated.passed  # it does not claim to be that checkpoint
