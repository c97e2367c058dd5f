"""What is written is what is read back, and what plain transformers reads: else a build ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from family_models import KINDS, save_family_model

from tiankong.toolkit.building import builders, comparison
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models import loading
from tiankong.toolkit.models.loading import load_model

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("compared")
    return {kind: save_family_model(place / kind, kind, layers=1) for kind in KINDS}


@pytest.fixture
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


def ends(folder: Path) -> str:
    """Return the one line with which building the reference ends."""
    with pytest.raises(UnusableInputError) as caught:
        Store(str(folder)).build(["pytorch-fp32"])
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nothing_kept(artifacts: Path) -> bool:
    return not [path for path in (artifacts / "variants").rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reference_says_with_what_it_was_compared(
    folders: dict[str, Path], artifacts: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (built,) = Store(str(folders[kind])).build(["pytorch-fp32"])
    assert built.manifest.notes["reference"].startswith("answers as plain transformers does (")
    assert "not compared" not in capsys.readouterr().err


PLACES = {
    "positions": "bert.embeddings.position_embeddings.weight",
    "query": "bert.encoder.layer.0.attention.self.query.weight",
    "bias": "cls.predictions.bias",
}


@pytest.mark.parametrize("name", ["query", "bias"])
def test_another_network_than_plain_transformers_loads(
    folders: dict[str, Path], artifacts: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    load = loading.load_network

    def loaded(*arguments: Any) -> Any:
        import torch

        network = load(*arguments)
        with torch.no_grad():
            network.get_parameter(PLACES[name]).mul_(1.01)
        return network

    monkeypatch.setattr(loading, "load_network", loaded)
    line = ends(folders["bert"])
    assert "the network in memory and plain transformers (BertForMaskedLM" in line
    assert "differ: a logit by" in line
    assert nothing_kept(artifacts)


@pytest.mark.parametrize("place", [0, 1, -1])
def test_every_position_is_looked_at(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, artifacts: Path, place: int
) -> None:
    load = loading.load_network

    def loaded(*arguments: Any) -> Any:
        import torch

        network = load(*arguments)
        with torch.no_grad():
            network.get_parameter(PLACES["positions"])[place] *= -1
        return network

    monkeypatch.setattr(loading, "load_network", loaded)
    assert "plain transformers" in ends(folders["bert"])


def written_otherwise(change: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """Return a builder that writes the reference, then changes its file."""
    write = builders.write_weights

    def written(workshop: Any, recipe: Any, folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        write(workshop, recipe, folder)
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return written


def test_what_is_written_otherwise(
    folders: dict[str, Path], artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors[PLACES["query"]] = tensors[PLACES["query"]].bfloat16().float()

    monkeypatch.setattr(builders, "write_weights", written_otherwise(change))
    line = ends(folders["bert"])
    assert "the network in memory and the reference as it was written and read again" in line
    assert nothing_kept(artifacts)


def test_what_is_not_written(
    folders: dict[str, Path], artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(tensors: dict[str, Any]) -> None:
        del tensors["cls.predictions.bias"]

    monkeypatch.setattr(builders, "write_weights", written_otherwise(change))
    assert "lacks cls.predictions." in ends(folders["bert"])
    assert nothing_kept(artifacts)


def test_numbers_that_are_none_are_a_difference(folders: dict[str, Path]) -> None:
    answers = comparison.ProbeAnswers.of(load_model(str(folders["bert"])))
    again = iter([*answers.logits[:-1], np.full_like(answers.logits[-1], np.nan)])
    with pytest.raises(UnusableInputError, match="a logit by nan"):
        answers.require_same("the other", lambda batch: next(again))


def test_probes_pad_and_ask_for_several_masks(folders: dict[str, Path]) -> None:
    loaded = load_model(str(folders["bert"]))
    short, long = comparison.probes(loaded.tokenizer, loaded.info.positions, 300)
    assert not short.attention_mask.all()
    assert np.bincount(short.rows).tolist() == [1, 2, 3, 4]
    assert long.input_ids.shape == (1, 512)
    tiny = comparison.probes(loaded.tokenizer, 5, 300)
    assert [batch.input_ids.shape for batch in tiny] == [(1, 3), (1, 5)]
    wide = comparison.probes(loaded.tokenizer, 512, 119_547)
    assert wide[1].input_ids.shape == (1, 135)


def test_where_transformers_cannot_judge_it_is_said(
    folders: dict[str, Path], tmp_path: Path, artifacts: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from tiankong.toolkit.models import plain

    folder = Path(shutil.copytree(folders["bert"], tmp_path / "odd"))

    def unreadable(path: Path) -> dict[str, Any]:
        return {"num_hidden_layers": 1, "vocab_size": "many"}

    monkeypatch.setattr(plain, "read_json", unreadable)
    (built,) = Store(str(folder)).build(["pytorch-fp32"])
    said = "not compared with plain transformers (BertForMaskedLM): it cannot load the folder"
    assert built.manifest.notes["reference"].startswith(said)
    assert f"{folder}: {said}" in capsys.readouterr().err
