"""Answers compared with the gold answers and with the reference's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.manifest import Manifest, read_manifest, record_files, write_manifest
from tiankong.toolkit.building.recipes import Promise, Recipe
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.outputs import DEPTH
from tiankong.toolkit.engines.predictor import Engine, Logits, Predictor, Ranked, Ranking
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.errors import BrokenVariantError, UnusableInputError
from tiankong.toolkit.gate import answers as kept
from tiankong.toolkit.gate import examination as checking
from tiankong.toolkit.gate.answers import Answers
from tiankong.toolkit.gate.gold import GoldItem, GoldSet, find_gold
from tiankong.toolkit.gate.judging import Agreement, Check, broken, check
from tiankong.toolkit.models.builtin import vocabulary

TOKENS = "甲乙丙丁戊己"
SCORES = (0.5, 0.2, 0.1, 0.05, 0.04, 0.03)
STRICT = Promise(1.0, 1.0, ordered=True, max_delta=1e-4)
ITEMS = tuple(GoldItem(f"g{n}", "all" if n < 2 else "poem", f"第{n}[MASK]", "甲") for n in range(4))
GOLD = GoldSet("four.jsonl", "0" * 64, ITEMS)


def ranking(order: str = TOKENS) -> Ranking:
    return [Ranked(*entry) for entry in zip(order, SCORES, strict=True)]


def given(**changed: Ranking) -> Answers:
    rankings = {item.id: ranking() for item in ITEMS} | changed
    return Answers("mine", "d", GOLD.digest, rankings)


def alike(result: Check) -> Agreement:
    assert result.agreement is not None
    return result.agreement


def test_the_same_answers_pass_the_strictest_promise() -> None:
    result = check(given(), given(), GOLD, STRICT)
    assert result.passed
    assert (result.hit_at_1, result.hit_at_5) == (1.0, 1.0)
    assert alike(result).top1 == alike(result).top5 == alike(result).order == 1
    assert (alike(result).max_delta, result.reasons, alike(result).flipped) == (0, [], [])


def test_a_flip_is_named_and_breaks_the_promise() -> None:
    result = check(given(g2=ranking("乙甲丙丁戊己")), given(), GOLD, Promise(1.0))
    (flip,) = alike(result).flipped
    assert (flip.id, flip.text, flip.answer) == ("g2", "第2[MASK]", "甲")
    assert (flip.reference, flip.variant) == ("甲", "乙")
    assert not result.passed
    assert result.reasons == ["same top-1 as pytorch-fp32 on 75.0%, promised 100.0%"]
    assert (result.hit_at_1, result.hit_at_5) == (0.75, 1.0)


def test_another_order_matters_only_where_order_is_promised() -> None:
    swapped = given(g0=ranking("甲乙丁丙戊己"))
    loose = check(swapped, given(), GOLD, Promise(1.0, 1.0))
    assert loose.passed
    assert (alike(loose).top5, alike(loose).order) == (1.0, 0.75)
    strict = check(swapped, given(), GOLD, Promise(1.0, 1.0, ordered=True))
    assert strict.reasons == ["same top-5 in the same order on 75.0%, promised 100.0%"]


def test_another_fifth_token_changes_the_set() -> None:
    result = check(given(g0=ranking("甲乙丙丁己戊")), given(), GOLD, Promise(1.0, 0.99))
    assert result.reasons == ["same top-5 on 75.0%, promised 99.0%"]


def test_a_probability_that_moved() -> None:
    moved = [Ranked("甲", 0.503), *ranking()[1:]]
    result = check(given(g3=moved), given(), GOLD, STRICT)
    assert alike(result).max_delta == pytest.approx(0.003)
    assert result.reasons == ["probabilities differ by 3.0e-03, promised 1e-04"]


def test_a_token_that_is_gone_counts_as_probability_zero() -> None:
    result = check(given(g3=ranking()[1:]), given(), GOLD, Promise())
    assert alike(result).max_delta == pytest.approx(0.5)


def test_hits_lost_against_the_reference() -> None:
    result = check(given(g1=ranking("乙丙丁戊己甲")), given(), GOLD, Promise(hit_at_5_loss=0.01))
    assert result.reasons == ["hit@5 is 75.0% against 100.0%, promised at most 1.0% less"]


def test_a_loss_just_as_promised_passes() -> None:
    lost = given(g1=ranking("乙丙丁戊己甲"))
    assert check(lost, given(), GOLD, Promise(hit_at_5_loss=0.25)).passed


def test_answers_the_reference_misses_too_are_no_loss() -> None:
    missed = given(g1=ranking("乙丙丁戊己甲"))
    result = check(missed, missed, GOLD, replace(STRICT, hit_at_5_loss=0.0))
    assert result.passed
    assert result.hit_at_5 == 0.75


def test_categories_keep_their_own_hits_even_one_called_all() -> None:
    result = check(given(g0=ranking("乙甲丙丁戊己")), given(), GOLD, Promise())
    assert list(result.categories) == ["all", "poem"]
    assert (result.categories["all"].items, result.categories["all"].hit_at_1) == (2, 0.5)
    assert (result.categories["poem"].items, result.categories["poem"].hit_at_1) == (2, 1.0)
    assert result.hit_at_1 == 0.75


KEYS = [
    "variant", "passed", "hit_at_1", "hit_at_5", "top1_agreement", "top5_agreement",
    "order_agreement", "max_delta", "categories", "reasons", "flipped", "divergence",
    "worst_divergence", "worst", "furthest", "batch", "judged", "guessing", "warnings",
]  # fmt: skip


def test_a_result_is_json_of_one_shape() -> None:
    flipped = check(given(g2=ranking("乙甲丙丁戊己")), given(), GOLD, STRICT)
    data = json.loads(json.dumps(flipped.as_json()))
    assert data["categories"]["all"] == {
        "items": 2, "hit_at_1": 1.0, "hit_at_5": 1.0, "top1_agreement": 1.0,
    }  # fmt: skip
    assert data["categories"]["poem"]["top1_agreement"] == 0.5
    assert data["worst"] == "g2"
    usual = [["甲", 0.5], ["乙", 0.2], ["丙", 0.1], ["丁", 0.05], ["戊", 0.04]]
    other = [["乙", 0.5], ["甲", 0.2], *usual[2:]]
    assert data["flipped"] == [
        {"id": "g2", "text": "第2[MASK]", "answer": "甲", "reference": "甲", "variant": "乙",
         "reference_top5": usual, "variant_top5": other},
    ]  # fmt: skip
    assert data["furthest"] == {
        "id": "g2", "text": "第2[MASK]", "mask": 1, "reference_top5": usual, "variant_top5": other,
    }  # fmt: skip
    alone = check(given(), None, GOLD, Promise()).as_json()
    none = broken("mine", "no answers").as_json()
    assert list(data) == list(alone) == list(none) == KEYS
    assert [key for key in KEYS if alone[key] is None] == [
        *KEYS[4:8], *KEYS[11:13], "furthest", "batch",
    ]  # fmt: skip
    assert alone["categories"]["all"]["top1_agreement"] is None
    assert (alone["passed"], alone["judged"], alone["flipped"], alone["worst"]) == (
        True, False, [], "",
    )  # fmt: skip
    assert none == dict.fromkeys(KEYS, 0.0) | {
        "variant": "mine", "passed": False, "max_delta": 1.0, "categories": {},
        "reasons": ["no answers"], "flipped": [], "worst": "", "furthest": None, "batch": None,
        "judged": True, "guessing": None, "warnings": [],
    }  # fmt: skip


def test_the_question_that_diverges_most_may_be_a_mask_of_a_probe() -> None:
    probes = {"probe-2": "[MASK]与[MASK]"}
    ours = replace(given(), probes={"probe-2": [ranking(), ranking("戊甲乙丙丁己")]})
    theirs = replace(given(), probes={"probe-2": [ranking(), ranking()]})
    furthest = alike(check(ours, theirs, GOLD, Promise(), probes=probes)).furthest
    assert furthest is not None
    assert (furthest.id, furthest.text, furthest.mask) == ("probe-2.2", "[MASK]与[MASK]", 2)
    assert [entry.token for entry in furthest.variant_top5] == list("戊甲乙丙丁")


def test_probabilities_are_recorded_to_five_digits() -> None:
    third = [Ranked("乙", 1 / 3), *ranking()[1:]]
    (flip,) = alike(check(given(g0=third), given(), GOLD, Promise())).flipped
    assert flip.variant_top5[0] == ("乙", 0.33333)


# --- checking: over variant folders, with engines made up --------------------------------------


class Scores(Engine):
    """An engine with one fixed row of logits."""

    def __init__(self, value: float = 0.0, best: str = "甲") -> None:
        self.row = np.full(len(vocabulary.tokens()), value, dtype=np.float32)
        self.row[vocabulary.tokens().index(best)] = value + 5

    def logits(self, batch: Batch) -> Logits:
        return np.tile(self.row, (len(batch.rows), 1))


Engines = dict[str, Scores]


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engines:
    """Which engine each variant has."""
    made: Engines = {}
    encoder = TextEncoder(vocabulary.tokenizer())
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(
        checking,
        "open_variant",
        lambda folder: Predictor(folder.name, encoder, made[folder.name]),
    )
    return made


def standing(name: str, tmp_path: Path, promise: Promise = STRICT) -> Built:
    folder = tmp_path / "variants" / "m" / name
    folder.mkdir(parents=True)
    (folder / "file").write_text(name)
    recipe = Recipe(name, "s", "onnxruntime", "file", ("export",), promise)
    manifest = Manifest(name, {"name": "m"}, recipe, record_files(folder), {}, {}, "now")
    write_manifest(folder, manifest)
    return Built(folder, manifest, skipped=False)


def test_the_gate_writes_results_and_keeps_answers(engines: Engines, tmp_path: Path) -> None:
    engines |= {"pytorch-fp32": Scores(), "same": Scores(), "other": Scores(best="乙")}
    variants = [standing(name, tmp_path) for name in engines]
    gated = checking.gate(Store("m"), variants, GOLD)
    assert [result.passed for result in gated.checks] == [True, True, False]
    assert not gated.passed
    for built, passed in zip(variants, (True, True, False), strict=True):
        manifest = read_manifest(built.folder)
        assert manifest.gate is not None
        assert (manifest.gate["passed"], manifest.gate["gold"]) == (passed, "four.jsonl")
        loaded = kept.load(manifest.variant, manifest.digest, GOLD)
        assert len(loaded.rankings) == len(ITEMS)
        assert len(loaded.rankings["g0"]) == DEPTH
    assert gated.as_json()["variants"][2]["flipped"][0]["variant"] == "乙"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_variant_without_usable_scores_fails_alone(
    engines: Engines, tmp_path: Path, value: float
) -> None:
    engines |= {"pytorch-fp32": Scores(), "broken": Scores(value)}
    gated = checking.gate(Store("m"), [standing(name, tmp_path) for name in engines], GOLD)
    good, bad = gated.checks
    assert good.passed
    assert not bad.passed
    assert bad.reasons == ["broken gives scores that are not numbers"]
    manifest = read_manifest(tmp_path / "variants" / "m" / "broken")
    assert manifest.gate is not None
    assert manifest.gate["passed"] is False


def test_a_broken_reference_stops_the_gate(engines: Engines, tmp_path: Path) -> None:
    engines["pytorch-fp32"] = Scores(np.nan)
    with pytest.raises(BrokenVariantError, match="pytorch-fp32"):
        checking.gate(Store("m"), [standing("pytorch-fp32", tmp_path)], GOLD)


def test_the_reference_is_asked_even_if_not_named(engines: Engines, tmp_path: Path) -> None:
    engines |= {"pytorch-fp32": Scores(), "same": Scores()}
    same = standing("same", tmp_path)
    with pytest.raises(UnusableInputError, match="build it first"):
        checking.gate(Store("m"), [same], GOLD)
    standing("pytorch-fp32", tmp_path)
    assert [result.variant for result in checking.gate(Store("m"), [same], GOLD).checks] == ["same"]


def test_an_answer_outside_the_models_vocabulary(engines: Engines, tmp_path: Path) -> None:
    engines["pytorch-fp32"] = Scores()
    gold = GoldSet("g", "1", (GoldItem("g9", "c", "[MASK]", "龘"),))
    with pytest.raises(UnusableInputError, match="answer '龘' of item g9"):
        checking.gate(Store("m"), [standing("pytorch-fp32", tmp_path)], gold)


def test_a_sentence_that_cannot_be_asked_is_named(engines: Engines, tmp_path: Path) -> None:
    engines["pytorch-fp32"] = Scores()
    gold = GoldSet("g", "1", (GoldItem("g9", "c", "天" * 600 + "[MASK]", "甲"),))
    with pytest.raises(UnusableInputError, match=r"g9 cannot be asked: .* 603 tokens"):
        checking.gate(Store("m"), [standing("pytorch-fp32", tmp_path)], gold)


def test_named_gold_sets() -> None:
    assert find_gold("builtin").name == "gold.jsonl"
    assert find_gold("heldout").name == "heldout.jsonl"
    with pytest.raises(UnusableInputError, match="does not exist"):
        find_gold("nowhere.jsonl")


def test_the_variants_that_ship_keep_their_answers(gated_variants: dict[str, Built]) -> None:
    gates = {name: built.manifest.gate for name, built in gated_variants.items()}
    for name, gate in gates.items():
        assert gate is not None, name
        assert gate["gold"] == "gold.jsonl"
        assert gate["top1_agreement"] >= 0.97, name
        assert gate["hit_at_5"] >= 0.97, name
        assert gate["passed"], gate["reasons"]
