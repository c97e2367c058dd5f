"""Real models, if OpenVINO is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tiankong.bench.explain.workload import FP32
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.models.builtin.catalogue import small_geometry

pytest.importorskip("openvino")

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

BATCH, LENGTH = 2, 8


def test_the_products_are_its_geometrys(small_variants: dict[str, Built]) -> None:
    from tiankong.bench.explain.openvino_subject import Compiled, groups
    from tiankong.bench.explain.operators import PRODUCTS

    built = small_variants["onnx-fp32"]
    encoder = TextEncoder.from_folder(built.folder)
    batch = encoder.batch([encoder.encode("今天天气[MASK]啊")] * BATCH)
    compiled = Compiled(built.folder / built.manifest.recipe.file, batch, "f32", 1)
    counted = compiled.count()
    g, rows = small_geometry(), BATCH * LENGTH
    dense = g.layers * (4 * g.hidden**2 + 2 * g.hidden * g.intermediate)
    dense += g.hidden**2 + g.hidden * g.vocabulary
    weights = [each for each in counted.products if not each.inside]
    assert {each.precision for each in weights} == {FP32}
    assert sum(each.operations for each in weights) == 2 * rows * dense
    assert sum(each.weight_bytes for each in weights) == 4 * dense
    inside = [each for each in counted.products if each.inside]
    assert counted.fused_attention == (not inside)
    by_name = {group.name: group for group in groups(compiled, 2, lambda: None)}
    assert by_name[PRODUCTS].operators == len(weights)
    assert by_name[PRODUCTS].ms > 0


def test_a_model_that_leaves_padding_out_has_products_of_known_rows(
    small_variants: dict[str, Built],
) -> None:
    from tiankong.bench.explain.openvino_subject import Compiled

    built = small_variants["openvino-int8"]
    encoder = TextEncoder.from_folder(built.folder)
    texts = ["今天天气[MASK]啊", "今天天气很[MASK]，我们去[MASK]吧"]
    batch = encoder.batch([encoder.encode(text) for text in texts])
    compiled = Compiled(built.folder / built.manifest.recipe.file, batch, "f32", 1)
    counted = compiled.count()
    assert counted.asked_only
    rows = [each.rows for each in counted.products if not each.inside]
    assert rows[-1] == len(batch.rows) == 3  # the head
    (kept,) = set(rows) - {len(batch.rows)}
    assert batch.attention_mask.sum() <= kept <= batch.attention_mask.size
    compiled.run()
    assert compiled.times()
