"""Every engine: one test body over all variants of builtin-small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.engines.predictor import (
    Engine,
    Logits,
    Predictor,
    as_body,
    probabilities,
    top_ids,
)
from tiankong.toolkit.engines.text import Batch, NoMaskError, TextEncoder, UnknownCandidateError
from tiankong.toolkit.errors import BrokenVariantError, UnusableInputError
from tiankong.toolkit.models.builtin import vocabulary

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

MIXED = [
    "[MASK]",
    "床前明月光,疑是地[MASK]霜。",
    "[MASK]" * 8,
    "今天[MASK]气真[MASK]，我们去公园[MASK]步吧。",
    "春眠不觉晓，" * 84 + "处处闻[MASK]鸟",
]
# The largest difference of a logit to PyTorch's; seen: 2e-5, 2e-5, 0.007, 1.0, ...
CLOSE = {"pytorch-fp32": 1e-4, "onnx-fp32": 1e-4, "onnx-fp16": 1e-3, "onnx-int8": 3.0}
CLOSE |= {"openvino-bf16": 0.5, "openvino-int8": 3.0, "pytorch-bf16": 0.5}


@pytest.fixture(scope="module")
def expected(small_variants: dict[str, Built]) -> Logits:
    import torch

    from tiankong.toolkit.models.loading import load_model

    model = load_model("builtin-small")
    encoder, rows = TextEncoder(model.tokenizer), []
    for text in MIXED:  # one by one, without padding and without our engines
        ids = encoder.encode(text)
        with torch.inference_mode():
            full = model.network(input_ids=torch.tensor([ids])).logits[0].numpy()
        rows.append(full[np.asarray(ids) == 103])
    return np.concatenate(rows)


@pytest.mark.parametrize("name", sorted(CLOSE))
def test_every_engine_against_pytorch(
    name: str, small_variants: dict[str, Built], expected: Logits
) -> None:
    if name not in small_variants:
        pytest.skip(f"{name} cannot be here")
    predictor = open_variant(small_variants[name].folder)
    batch = predictor.encoder.batch([predictor.encoder.encode(text) for text in MIXED])
    actual = predictor.engine.logits(batch)
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape == (14, len(vocabulary.tokens()))
    worst = float(np.abs(actual - expected).max())
    assert worst <= CLOSE[name]


class Fixed(Engine):
    """An engine that always returns the same row of logits."""

    def __init__(self, row: Logits) -> None:
        self.row = row

    def logits(self, batch: Batch) -> Logits:
        return np.tile(self.row, (len(batch.rows), 1))


@pytest.fixture
def fixed() -> Predictor:
    row = np.zeros(len(vocabulary.tokens()), dtype=np.float32)
    for place, token in enumerate("上下天地人"):
        row[vocabulary.tokens().index(token)] = 9 - place
    return Predictor("fixed", TextEncoder(vocabulary.tokenizer()), Fixed(row))


def test_answers_come_by_sentence_and_mask(fixed: Predictor) -> None:
    one, two = fixed.predict(["[MASK]", "天[MASK]地[MASK]"])
    assert (len(one), len(two)) == (1, 2)
    assert [entry.token for entry in two[1]] == list("上下天地人")
    assert len(fixed.predict(["[MASK]"], top_k=50)[0][0]) == 50


def test_candidates_are_ranked_alone_with_their_own_probabilities(fixed: Predictor) -> None:
    ((full,),) = fixed.predict(["[MASK]"])
    ((ranked,),) = fixed.predict(["[MASK]"], candidates=["天", "上", "天"])
    assert ranked == [full[0], full[2]]
    with pytest.raises(UnknownCandidateError):
        fixed.predict(["[MASK]"], candidates=["天地"])


def test_a_sentence_without_mask_is_refused(fixed: Predictor) -> None:
    with pytest.raises(NoMaskError):
        fixed.predict(["[MASK]", "天"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_no_numbers(fixed: Predictor, value: float) -> None:
    broken = Predictor("v", fixed.encoder, Fixed(np.full(9000, value, dtype=np.float32)))
    with pytest.raises(BrokenVariantError, match="v gives scores that are not numbers"):
        broken.predict(["[MASK]"])


def test_body_is_the_articles_shape(fixed: Predictor) -> None:
    (answer,) = fixed.predict(["[MASK][MASK]"])
    body = json.loads(json.dumps(as_body(answer)))
    assert body["results"] == body["masks"][0]
    assert [list(entry) for entry in body["results"]] == [["token", "score"]] * 5
    assert len(body["masks"]) == 2


def test_top_ids_ties_go_to_the_lower_id() -> None:
    scores = np.array([1, 3, 2, 3, 2, 2], dtype=np.float32)
    assert top_ids(scores, 3).tolist() == [1, 3, 2]
    assert top_ids(scores, 10).tolist() == [1, 3, 2, 4, 5, 0]


def test_probabilities_of_large_logits() -> None:
    actual = probabilities(np.array([[1000.0, 1000.0, -1000.0]], dtype=np.float32))
    assert actual.tolist() == [[0.5, 0.5, 0.0]]


def test_open_variant_names_what_is_wrong(small_variants: dict[str, Built], tmp_path: Path) -> None:
    with pytest.raises(UnusableInputError, match="is no variant"):
        open_variant(tmp_path)
    folder = shutil.copytree(small_variants["onnx-int8"].folder, tmp_path / "v")
    (folder / "config.json").unlink()
    with pytest.raises(UnusableInputError, match=r"config\.json is missing"):
        open_variant(folder)
