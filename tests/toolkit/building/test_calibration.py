"""Calibration sentences of a user's own: read, recorded, asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest
from family_models import save_family_model

from tiankong.toolkit.building.calibration import read_calibration
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.text import TextEncoder
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models.builtin import vocabulary


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
