"""Calibration sentences of a user's own: read, recorded, asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
from family_models import save_family_model

from tiankong.toolkit.building.calibration import asked_in_many_ways, read_calibration
from tiankong.toolkit.building.own_sentences import written as written_by
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.builtin import vocabulary
from tiankong.toolkit.models.loading import load_model


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(vocabulary.tokenizer(), 32)


def written(folder: Path, text: str) -> Path:
    path = folder / "sentences.txt"
    path.write_text(text, encoding="utf-8")
    return path


def test_sentences_are_lines(tmp_path: Path, encoder: TextEncoder) -> None:
    own = read_calibration(written(tmp_path, "\ufeff今天[MASK]气好。\r\n\n 明[MASK]再来。 \n"))
    assert own.texts == ("今天[MASK]气好。", "明[MASK]再来。")
    assert own.given
    assert not read_calibration().given
    assert [encoder.mask_id in ids for ids in own.encode(encoder)] == [True, True]


def test_what_the_model_cannot_take_is_left_out_and_said(
    tmp_path: Path, encoder: TextEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["今天[MASK]气好。", "没有空。", "长" * 40 + "[MASK]"]
    assert len(read_calibration(written(tmp_path, "\n".join(lines))).encode(encoder)) == 1
    said = capsys.readouterr().err
    assert "2 of 3 sentences left out ('没有空。': the text has no [MASK])" in said


@pytest.mark.parametrize(
    ("text", "why"), [("", "has no sentences"), ("没有空。\n", "none of the calibration sentences")]
)
def test_nothing_to_calibrate_on_is_refused(
    text: str, why: str, tmp_path: Path, encoder: TextEncoder
) -> None:
    with pytest.raises(UnusableInputError, match=why):
        read_calibration(written(tmp_path, text)).encode(encoder)


def test_sentences_of_another_kind_are_said_to_be(
    tmp_path: Path, encoder: TextEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = written(tmp_path, "ཨོཾ མ ཎི པདྨེ [MASK]\n")
    read_calibration(strange).encode(encoder)
    assert "knows few of the tokens of sentences.txt" in capsys.readouterr().err


def test_a_variant_keeps_the_sentences_it_was_built_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    model = str(save_family_model(tmp_path / "model", "bert"))
    own = written(tmp_path, "今天天气真[MASK]啊。\n他做事总是半[MASK]而废。\n")
    names = ["onnx-fp32", "onnx-int8"]
    shipped = Store(model).build(names)
    assert all("calibration" not in built.manifest.notes for built in shipped)
    asked = Store(model, calibration=own)
    _, eight_bits = asked.get(names)
    assert eight_bits.manifest.notes["calibration"].startswith("sentences.txt, SHA-256 ")
    assert [built.skipped for built in asked.build(names)] == [True, True]
    assert [built.skipped for built in Store(model).build(names)] == [True, True]
    (eight_bits.folder / "tokenizer.json").write_text("{}")  # damaged: it has to be built again
    with pytest.raises(UnusableInputError, match=r"calibrated on sentences.txt.* --calibration"):
        Store(model).build(names)
    assert asked.build(names)[1].manifest.notes == eight_bits.manifest.notes


def strange_model(folder: Path) -> Path:
    """Save a random model whose tokens are no Chinese characters."""
    save_family_model(folder, "bert")
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    others = [*tokens[:5], *(f"a{number}" for number in range(len(tokens) - 5))]
    (folder / "vocab.txt").write_text("\n".join(others) + "\n", encoding="utf-8")
    return folder


def test_shipped_sentences_fit_a_tokenizer_that_knows_them(
    encoder: TextEncoder, tmp_path: Path
) -> None:
    assert read_calibration().fits(encoder)
    strange = load_model(str(strange_model(tmp_path / "model")))
    assert not read_calibration().fits(TextEncoder(strange.tokenizer))


def test_a_sentence_is_asked_in_many_ways(encoder: TextEncoder) -> None:
    ids = encoder.encode("今天天气真[MASK]啊。")
    (batch,) = asked_in_many_ways(encoder, [ids])
    asked = batch.input_ids.tolist()
    assert asked[0] == ids
    assert len(asked) == len({tuple(one) for one in asked}) == 8
    assert all(one.count(encoder.mask_id) == 2 for one in asked[1:])
    assert all((one[0], one[-1]) == (ids[0], ids[-1]) for one in asked)
    again = asked_in_many_ways(encoder, [ids])[0]
    assert again.input_ids.tolist() == asked
    many = asked_in_many_ways(encoder, [ids] * 512)
    assert all(len(batch.input_ids) == 1 for batch in many)


def test_a_model_of_another_kind_writes_its_own_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    folder = strange_model(tmp_path / "model")
    built = Store(str(folder)).build(["pytorch-fp32", "onnx-int8", "onnx-int8-small"])
    assert "the model writes its own" in capsys.readouterr().err
    for eight_bits in built[1:]:
        assert eight_bits.manifest.notes["sentences"].startswith("calibrated on 64 sentences")
        assert "calibration" not in eight_bits.manifest.notes
        assert eight_bits.manifest.notes["eight_bits"]["divergence"] > 0
    assert [again.skipped for again in Store(str(folder)).build(["onnx-int8"])] == [True]


def test_what_a_model_writes_are_sentences_of_its_tokens(tmp_path: Path) -> None:
    folder = save_family_model(tmp_path / "model", "bert")
    loaded = load_model(str(folder))
    encoder = TextEncoder(loaded.tokenizer, loaded.info.positions)
    sentences = written_by(loaded.network, encoder)
    assert sentences == written_by(loaded.network, encoder)
    assert len(sentences) == 64
    specials = {encoder.vocabulary[token] for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")}
    for ids in sentences:
        assert (ids[0], ids[-1]) == (encoder.vocabulary["[CLS]"], encoder.vocabulary["[SEP]"])
        assert 1 <= ids.count(encoder.mask_id) <= 4
        assert not specials & set(ids[1:-1])
    assert len({tuple(ids) for ids in sentences}) == 64
