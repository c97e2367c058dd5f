"""The decoder's matrix and bias, under whichever names the file has them, survive a build."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from family_models import KINDS, save_family_model

from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.manifest import record_files, write_manifest
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.torch_engine import TorchEngine
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.gold import read_gold
from tiankong.toolkit.models.families import FAMILIES
from tiankong.toolkit.models.loading import load_model

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

WEIGHTS = "model.safetensors"
TWO_NAMES = [kind for kind in KINDS if FAMILIES[kind].decoder_bias]
BIASES = ("shared", "own", "both", "differing")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tied")
    return {kind: save_family_model(place / kind, kind, layers=1) for kind in KINDS}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))


def written(folder: Path, tensors: Tensors, **config: Any) -> Path:
    """Overwrite a folder's weights, every tensor with storage of its own, and keys of config."""
    from safetensors.torch import save_file

    save_file({n: t.clone() for n, t in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | config))
    return folder


def odd_head(source: Path, folder: Path, kind: str, biases: str, tied: bool) -> tuple[Path, Any]:
    """Return a copy with a head like that, and the logits that its decoder must give.

    The logits are computed by hand from the hidden states before the decoder.
    """
    import torch
    import transformers
    from safetensors.torch import load_file

    spec = FAMILIES[kind]
    tensors = load_file(source / WEIGHTS)
    words = tensors[spec.embeddings]
    g = torch.Generator().manual_seed(5)
    matrix = words if tied else words + 0.3 * torch.randn(words.shape, generator=g)
    right, wrong = (3 * torch.randn(len(words), generator=g) for _ in range(2))
    network = getattr(transformers, spec.architectures[0]).from_pretrained(source).eval()
    seen: list[torch.Tensor] = []
    decoder = network.get_submodule(spec.decoder.removesuffix(".weight"))
    decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(**probe())
    changed = {n: t for n, t in tensors.items() if n not in (spec.head_bias, spec.decoder_bias)}
    if not tied:
        changed[spec.decoder] = matrix
    if biases in ("shared", "both", "differing"):
        changed[spec.head_bias] = wrong if biases == "differing" else right
    if spec.decoder_bias and biases != "shared":
        changed[spec.decoder_bias] = right
    copy = Path(shutil.copytree(source, folder))
    expected = (seen[0] @ matrix.T + right).numpy()
    return written(copy, changed, tie_word_embeddings=tied), expected


def probe() -> dict[str, Any]:
    import torch

    return {"input_ids": torch.tensor([[2, 9, 4, 30, 4, 11, 3]])}


def largest(given: Any, expected: Any) -> float:
    return float(np.abs(np.asarray(given) - expected).max())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("kind", "biases"),
    [(k, b) for k in TWO_NAMES for b in BIASES]
    + [(k, "shared") for k in KINDS if k not in TWO_NAMES],
)
def test_the_reference_answers_as_the_checkpoint(
    plain: dict[str, Path], tmp_path: Path, kind: str, biases: str, tied: bool
) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForMaskedLM

    folder, expected = odd_head(plain[kind], tmp_path / "odd", kind, biases, tied)
    with torch.inference_mode():
        assert largest(load_model(str(folder)).network(**probe()).logits, expected) < 1e-4
    (built,) = Store(str(folder)).build(["pytorch-fp32"])
    again, report = AutoModelForMaskedLM.from_pretrained(built.folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    with torch.inference_mode():
        assert largest(again.eval()(**probe()).logits, expected) < 1e-4
        served = TorchEngine(built.folder)._network
        assert largest(served(**probe()).logits, expected) < 1e-4
    names = set(load_file(built.folder / WEIGHTS))
    spec = FAMILIES[kind]
    assert {spec.decoder, spec.decoder_bias or spec.decoder} & names == (
        set() if tied else {spec.decoder, spec.decoder_bias or spec.decoder}
    )


@pytest.mark.parametrize("kind", TWO_NAMES)
@pytest.mark.parametrize("tied", [True, False])
def test_graphs_use_the_decoders_own_bias(
    plain: dict[str, Path], tmp_path: Path, kind: str, tied: bool
) -> None:
    folder, _ = odd_head(plain[kind], tmp_path / "odd", kind, "differing", tied)
    recipes = ["pytorch-fp32", "onnx-fp32", *(["openvino-bf16"] if kind == "bert" else [])]
    reference, *others = Store(str(folder)).build(recipes)
    wanted = answers(reference)
    for built in others:
        loose = 0.05 if built.manifest.recipe.precision == "bf16" else 1e-4
        assert largest(answers(built), wanted) < loose * wanted.std()


def answers(built: Built) -> Any:
    predictor = open_variant(built.folder, 1)
    texts = read_gold().texts()[:8]
    return predictor.engine.logits(
        predictor.encoder.batch(list(map(predictor.encoder.encode, texts)))
    )


def test_what_is_unusual_is_said_and_kept(
    plain: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = odd_head(plain["bert"], tmp_path / "odd", "bert", "differing", False)
    (built,) = Store(str(folder)).build(["pytorch-fp32"])
    note = (
        "the decoder is a matrix of its own; cls.predictions.decoder.bias and cls.predictions.bias"
        " differ, and the decoder's own is used"
    )
    assert built.manifest.notes["checkpoint"] == note
    assert f"{folder}: {note}" in capsys.readouterr().err.splitlines()
    (again,) = Store(str(folder)).build(["pytorch-fp32"])
    assert again.skipped


def test_a_bias_that_only_transformers_4_read_is_said(
    plain: dict[str, Path], tmp_path: Path
) -> None:
    folder, _ = odd_head(plain["albert"], tmp_path / "odd", "albert", "shared", False)
    assert load_model(str(folder)).remarks == (
        "the decoder is a matrix of its own",
        "predictions.bias is the decoder's bias, which transformers from 5 on starts at zero",
    )


def test_a_reference_that_lost_a_bias_is_not_served(plain: dict[str, Path], tmp_path: Path) -> None:
    """As builds left it that wrote two biases of one storage; the next build makes it again."""
    from safetensors.torch import load_file

    folder, _ = odd_head(plain["bert"], tmp_path / "odd", "bert", "both", False)
    store = Store(str(folder))
    (built,) = store.build(["pytorch-fp32"])
    lost = load_file(built.folder / WEIGHTS)
    del lost["cls.predictions.decoder.bias"]
    written(built.folder, lost)
    old = replace(built.manifest, notes={}, files=record_files(built.folder))
    write_manifest(built.folder, old)
    with pytest.raises(UnusableInputError, match=r"lacks cls.predictions.decoder.bias: build"):
        open_variant(built.folder)
    (again,) = store.build(["pytorch-fp32"])
    assert not again.skipped
    open_variant(again.folder)


def test_one_matrix_of_two_that_config_asks_for(plain: dict[str, Path], tmp_path: Path) -> None:
    folder, _ = odd_head(plain["bert"], tmp_path / "odd", "bert", "both", True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    with pytest.raises(UnusableInputError, match=r"lacks cls.predictions.decoder.weight, and"):
        load_model(str(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tied_matrix_under_the_decoders_name_only(
    plain: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    import torch
    from safetensors.torch import load_file

    spec = FAMILIES[kind]
    tensors = load_file(plain[kind] / WEIGHTS)
    folder = Path(shutil.copytree(plain[kind], tmp_path / "odd"))
    tensors[spec.decoder] = tensors.pop(spec.embeddings)
    written(folder, tensors)
    with torch.inference_mode():
        wanted, given = (
            load_model(str(f)).network(**probe()).logits for f in (plain[kind], folder)
        )
    assert torch.equal(given, wanted)
