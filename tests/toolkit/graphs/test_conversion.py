"""toolkit/graphs/masked_bert.py and conversion.py: the same answers as PyTorch's whole network."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tiankong.toolkit.engines.openvino_engine import OpenvinoEngine
from tiankong.toolkit.engines.predictor import Logits
from tiankong.toolkit.engines.text import Batch, TextEncoder
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import BUILTIN, read_gold
from tiankong.toolkit.models.loading import LoadedModel, load_model

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built

MIXED = [
    "[MASK]",
    "床前明月光,疑是地[MASK]霜。",
    "[MASK]" * 8,
    "今天[MASK]气真[MASK]，我们去公园[MASK]步吧。",
    "春眠不觉晓，" * 84 + "处处闻[MASK]鸟",
]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("builtin-small")


@pytest.fixture(scope="module")
def encoder(model: LoadedModel) -> TextEncoder:
    return TextEncoder(model.tokenizer)


@pytest.fixture(scope="module")
def converted(
    model: LoadedModel, encoder: TextEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    pytest.importorskip("nncf")
    from tiankong.toolkit.graphs.conversion import convert

    path = tmp_path_factory.mktemp("converted") / "openvino_model.xml"
    before = dict(os.environ)
    convert(model.network, path, encoder.batch([encoder.encode("好[MASK]啊")]), encoder.mask_id)
    assert dict(os.environ) == before
    return path


def batch(encoder: TextEncoder, texts: list[str]) -> Batch:
    return encoder.batch([encoder.encode(text) for text in texts])


def pytorch(model: LoadedModel, given: Batch) -> Logits:
    import torch

    with torch.inference_mode():
        full = model.network(
            input_ids=torch.from_numpy(given.input_ids),
            attention_mask=torch.from_numpy(given.attention_mask),
            token_type_ids=torch.from_numpy(given.token_type_ids),
        ).logits
    return np.asarray(full.numpy()[given.rows, given.columns])


def test_what_is_left_out_changes_nothing(
    model: LoadedModel, encoder: TextEncoder, converted: Path
) -> None:
    engine = OpenvinoEngine(converted)
    texts = [item.text for item in read_gold(BUILTIN).items]
    batches = [texts[i : i + 16] for i in range(0, len(texts), 16)]  # of mixed length
    for given in (batch(encoder, some) for some in [*batches, MIXED, *([t] for t in MIXED)]):
        assert np.abs(engine.logits(given) - pytorch(model, given)).max() <= 1e-4


def test_second_segments_and_padding_count(
    model: LoadedModel, encoder: TextEncoder, converted: Path
) -> None:
    given = batch(encoder, MIXED[:2])
    types = given.token_type_ids.copy()
    types[:, 3:] = 1
    given = Batch(given.input_ids, given.attention_mask, types, given.rows, given.columns)
    expected = pytorch(model, given)
    assert np.abs(OpenvinoEngine(converted).logits(given) - expected).max() <= 1e-4


def test_the_original_network_stays_as_it_was(model: LoadedModel, converted: Path) -> None:
    assert converted.is_file()
    fresh = load_model("builtin-small").network
    for name, weight in model.network.state_dict().items():
        assert (weight == fresh.state_dict()[name]).all(), name


def test_other_programs_read_the_logits_and_we_do_not_compute_them(
    model: LoadedModel, encoder: TextEncoder, converted: Path, tmp_path: Path
) -> None:
    import openvino

    from tiankong.toolkit.engines.openvino_engine import feed, read_asked
    from tiankong.toolkit.graphs.conversion import offer_logits

    offered = tmp_path / "openvino_model.xml"
    for suffix in (".xml", ".bin"):
        shutil.copyfile(converted.with_suffix(suffix), offered.with_suffix(suffix))
    offer_logits(offered, encoder.mask_id)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "openvino_model.bin", "openvino_model.xml",
    ]  # fmt: skip
    sizes = [path.with_suffix(".bin").stat().st_size for path in (offered, converted)]
    assert sizes[0] < sizes[1] + 1000
    asked = [name for port in read_asked(offered).outputs for name in port.get_names()]
    assert sorted(asked) == ["mask_logits", "top_ids", "top_scores"]
    given = batch(encoder, MIXED)
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    whole = openvino.Core().compile_model(str(offered), "CPU", hint)
    assert [port.partial_shape.rank.get_length() for port in whole.inputs] == [2, 2, 2]
    logits = whole(feed(given))["logits"].copy()
    assert logits.shape == (*given.input_ids.shape, encoder.tokenizer.get_vocab_size())
    picked = logits[given.rows, given.columns]
    assert np.abs(picked - OpenvinoEngine(offered).logits(given)).max() <= 1e-5
    assert np.abs(picked - pytorch(model, given)).max() <= 1e-4
    logits[given.rows, given.columns] = 0
    assert not logits.any()


def test_half_the_size(converted: Path, tmp_path: Path) -> None:
    from tiankong.toolkit.graphs.conversion import store_half

    target = tmp_path / "half.xml"
    store_half(converted, target)
    sizes = [path.with_suffix(".bin").stat().st_size for path in (target, converted)]
    assert sizes[0] <= 0.52 * sizes[1]


def test_only_a_bert_is_converted(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertForMaskedLM

    from tiankong.toolkit.graphs.masked_bert import AskedBert

    tiny = DistilBertConfig(vocab_size=30, dim=8, hidden_dim=8, n_layers=1, n_heads=2)
    with pytest.raises(UnusableInputError, match="knows BERT, not DistilBertForMaskedLM"):
        AskedBert(DistilBertForMaskedLM(tiny), 3)
    assert not list(tmp_path.iterdir())


def test_the_8_bit_file_is_small_and_printed_nothing(small_variants: dict[str, Built]) -> None:
    pytest.importorskip("nncf")
    size, whole = (
        small_variants[name].manifest.model_file_size for name in ("openvino-int8", "onnx-fp32")
    )
    assert size <= 0.29 * whole  # one 8-bit matrix for embedding and decoder, no float matrix left
    xml = small_variants["openvino-int8"].folder / "openvino" / "openvino_model.xml"
    assert size >= xml.stat().st_size + xml.with_suffix(".bin").stat().st_size


@pytest.mark.parametrize("variant", ["openvino-int8", "openvino-bf16"])
def test_answers_do_not_depend_on_batchmates(
    variant: str, small_variants: dict[str, Built]
) -> None:
    pytest.importorskip("nncf")
    if variant not in small_variants:
        pytest.skip("this CPU does not compute in bfloat16")
    from tiankong.toolkit.building.opening import open_variant

    predictor = open_variant(small_variants[variant].folder, threads=1)
    texts = [*MIXED, *(item.text for item in read_gold(BUILTIN).items[:27])]
    alone = [predictor.engine.logits(batch(predictor.encoder, [text])) for text in texts]
    for size in (2, 5, 32):
        for first in range(0, len(texts), size):
            mates = texts[first : first + size]
            together = predictor.engine.logits(batch(predictor.encoder, mates))
            assert np.array_equal(together, np.concatenate(alone[first : first + size]))


def test_models_that_compute_padding_still_run(
    model: LoadedModel, encoder: TextEncoder, converted: Path, tmp_path: Path
) -> None:
    """Models built before have the places of the masks as further inputs."""
    import openvino
    from openvino import opset13 as ops

    older = openvino.Core().read_model(str(converted))
    places = [ops.parameter([-1], np.int32, name=name) for name in ("rows", "columns")]
    for place in places:
        place.output(0).tensor.set_names({place.get_friendly_name()})
    older.add_parameters(places)
    openvino.save_model(older, str(tmp_path / "older.xml"))
    engine = OpenvinoEngine(tmp_path / "older.xml")
    given = batch(encoder, MIXED)
    assert not engine.about.unpads
    assert OpenvinoEngine(converted).about.unpads
    assert np.abs(engine.logits(given) - pytorch(model, given)).max() <= 1e-2


def test_attention_counts_as_a_product(
    converted: Path, encoder: TextEncoder, tmp_path: Path
) -> None:
    """Where no loss is allowed, it is in float32 as well; its work grows with the square."""
    import openvino

    from tiankong.toolkit.graphs import conversion, fake_quantization

    some = [batch(encoder, [text]) for text in MIXED[:4]]
    model = openvino.Core().read_model(str(converted))
    squares = sum(int(given.attention_mask.sum()) ** 2 for given in some)
    assert fake_quantization.attention_work(model, some) == 2 * 4 * 256 * squares
    facts = conversion.quantize(converted, tmp_path / "none.xml", some, budget=0.0)
    assert conversion.ATTENTION in facts["float32"]
    assert sum(facts["float32"].values()) == pytest.approx(1, abs=0.01)
    # What is left is the embedding, which stays in 8 bits.
    assert 0 < facts["divergence"] < facts["all_in_8_bits"]


def test_quantizing_keeps_standard_output_clean(
    converted: Path, encoder: TextEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tiankong.toolkit.graphs.conversion import quantize

    some = [batch(encoder, [text]) for text in MIXED[:4]]
    before = copy.copy(dict(os.environ))
    quantize(converted, tmp_path / "eight.xml", some)
    assert capsys.readouterr().out == ""
    assert dict(os.environ) == before
    assert OpenvinoEngine(tmp_path / "eight.xml").best(some[0], 5)[0].shape == (1, 5)
