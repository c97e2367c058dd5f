"""``--convert-pickle`` from the command line and from Python."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from family_models import save_family_model
from hostile_pickles import Call, Numbers, Tensor, pickled, zip_file

import tiankong
from tiankong.__main__ import COMMANDS
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import ARTIFACTS, sha256

PICKLE = "pytorch_model.bin"
TEXT = "今天天气真[MASK]啊。"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small BERT whose weights are pickled only."""
    import torch
    from safetensors.torch import load_file

    home = tmp_path_factory.mktemp("home")
    model = save_family_model(home / "bert", "bert", layers=1)
    torch.save(load_file(model / "model.safetensors"), model / PICKLE)
    (model / "model.safetensors").unlink()
    return home


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tiankong", *arguments],
        cwd=home, env=os.environ | {ARTIFACTS: str(home / "artifacts")}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip


def test_every_command_that_builds_takes_it() -> None:
    takers = {
        command.__name__
        for command in COMMANDS
        if "recipes" in inspect.signature(command).parameters
    }
    assert {"build", "bench", "check", "predict", "serve", "sweep", "bundle", "tune"} <= takers
    for command in COMMANDS:
        if command.__name__ in takers:
            assert "convert_pickle" in inspect.signature(command).parameters, command.__name__
    for name in ("build", "check", "open_predictor", "sweep", "compare"):
        assert "convert_pickle" in inspect.signature(getattr(tiankong, name)).parameters, name


def test_a_model_is_built_from_its_pickle(home: Path) -> None:
    without = run(home, "build", "--model", "bert", "--variants", "onnx-fp32")
    assert without.returncode == 2
    assert without.stderr.startswith(
        "tiankong: bert has no model.safetensors, only pytorch_model.bin"
    )
    assert "--convert-pickle" in without.stderr
    assert without.stderr.count("\n") == 1
    assert not (home / "artifacts" / "variants").exists()

    words = ("--model", "bert", "--convert-pickle")
    ran = run(home, "build", *words, "--variants", "onnx-fp32", "--json")
    assert ran.returncode == 0, ran.stderr
    (variant,) = json.loads(ran.stdout)["variants"]
    digest = sha256(home / "bert" / PICKLE)
    assert variant["notes"]["pickle"] == f"weights converted from {PICKLE} (SHA-256 {digest})"
    assert variant["model"]["revision"] == digest
    again = run(home, "build", *words, "--variants", "onnx-fp32")
    assert "unchanged" in again.stdout
    assert "converted" not in again.stderr

    ran = run(home, "predict", TEXT, *words, "--variant", "onnx-fp32")
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 5
    kept = run(home, "predict", TEXT, "--model", "bert", "--variant", "onnx-fp32")
    assert kept.stdout == ran.stdout  # the variant that exists needs no pickle


def test_weights_that_changed_are_converted_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setenv(ARTIFACTS, str(tmp_path))
    model = str(shutil.copytree(home / "bert", tmp_path / "bert"))
    before = tiankong.open_predictor("pytorch-fp32", model, convert_pickle=True).predict([TEXT])
    state = torch.load(Path(model) / PICKLE)
    state["cls.predictions.bias"] = state["cls.predictions.bias"].flip(0)
    torch.save(state, Path(model) / PICKLE)
    with pytest.raises(UnusableInputError, match="--convert-pickle"):
        tiankong.open_predictor("pytorch-fp32", model)
    after = tiankong.open_predictor("pytorch-fp32", model, convert_pickle=True).predict([TEXT])
    assert after != before


def test_from_python(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(ARTIFACTS, str(tmp_path))
    with pytest.raises(UnusableInputError, match="--convert-pickle"):
        tiankong.build(str(home / "bert"), ["onnx-fp32"])
    predictor = tiankong.open_predictor("onnx-fp32", str(home / "bert"), convert_pickle=True)
    (answer,) = predictor.predict([TEXT])
    assert len(answer[0]) == 5


@pytest.mark.parametrize("kind", ["runs", "claims"])
def test_a_hostile_file_ends_the_command(home: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((home / "bert" / name).read_bytes())
    huge = Tensor(Numbers(count=1 << 40), shape=(1 << 40,), strides=(1,))
    value = Call(os.system, ("touch touched",)) if kind == "runs" else huge
    zip_file(folder / PICKLE, pickled({"w": value}))
    ran = run(tmp_path, "build", "--model", "hostile", "--convert-pickle")
    assert ran.returncode == 2
    lines = [line for line in ran.stderr.splitlines() if not line.startswith("skipped: ")]
    assert len(lines) == 1
    assert f"hostile/{PICKLE} " in lines[0]
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "artifacts" / "converted").exists()
    assert not (tmp_path / "artifacts" / "variants").exists()


def test_the_store_says_what_it_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ARTIFACTS, str(home / "artifacts"))
    assert Store(str(home / "bert")).convert_pickle is False
    with pytest.raises(UnusableInputError, match="--convert-pickle"):
        Store(str(home / "bert")).choose(["onnx-int8"])
    chosen = Store(str(home / "bert"), convert_pickle=True).choose(["onnx-int8"])
    assert chosen.names == ["onnx-int8"]
