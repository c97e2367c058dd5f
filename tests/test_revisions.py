"""Revisions of hub models: every command takes them, and those of different ones never meet."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_endpoint import HubEndpoint, commit_of, save_tiny_model
from retrained import TEXT, assert_answers, retrain

import tiankong
from tiankong.__main__ import main
from tiankong.toolkit.building.folders import variant_folder
from tiankong.toolkit.building.manifest import read_manifest
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.examination import gate
from tiankong.toolkit.gate.gold import find_gold

REPO = "test/tiny-bert"
VARIANT = "pytorch-fp32"
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubEndpoint]:
    """A hub with a model whose tag ``v1`` has other weights than ``main``."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    newest = save_tiny_model(tmp_path / "newest")
    first = Path(shutil.copytree(newest, tmp_path / "first"))
    retrain(first, 1)
    gold = {"id": "1", "category": "poem", "text": TEXT, "answer": "上"}
    (tmp_path / "gold.jsonl").write_text(json.dumps(gold), encoding="utf-8")
    with HubEndpoint(newest, REPO) as server:
        server.revisions["v1"] = first
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library's waits
        monkeypatch.chdir(tmp_path)
        yield server


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Said:
    """Run a command about the model; return its exit code, its output and what it said."""

    def run(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([*words, "--model", REPO])
        return code, *capfd.readouterr()

    return run


def commits() -> set[str]:
    """Return the commits that the variants of the model are of."""
    folders = variant_folder(REPO, VARIANT).parent.iterdir()
    return {str(read_manifest(folder).model["revision"]) for folder in folders}


def test_the_revision_that_was_built_is_found(hub: HubEndpoint, run: Said) -> None:
    predict = ("predict", TEXT, "--variant", VARIANT)
    assert run("build", "--revision", "v1", "--variants", VARIANT)[0] == 0
    _, printed, said = run(*predict)
    assert said == ""
    assert_answers(printed, hub.revisions["v1"])
    assert run(*predict, "--revision", "v1")[1] == printed
    _, newest, said = run(*predict, "--revision", "main")
    assert f"{VARIANT} was made of revision {commit_of(hub.revisions['v1'])[:12]}" in said
    assert_answers(newest, hub.folder)
    assert run(*predict)[1] == newest


def test_revisions_never_meet(hub: HubEndpoint, run: Said) -> None:
    run("build", "--revision", "v1", "--variants", VARIANT)
    run("build", "--variants", "onnx-fp32")
    assert len(commits()) == 2
    gold = ("--gold", "gold.jsonl")
    _, printed, said = run("check", *gold, "--variants", "onnx-fp32", "--json")
    assert f"{VARIANT} was made of revision {commit_of(hub.revisions['v1'])[:12]}" in said
    assert commits() == {hub.commit}
    (result,) = json.loads(printed)["variants"]
    assert result["max_delta"] < 1e-4  # both have the same weights
    _, printed, said = run("check", *gold, "--variants", "onnx-fp32", "--revision", "v1", "--json")
    assert said.count("was made of revision") == 2
    assert commits() == {commit_of(hub.revisions["v1"])}
    assert json.loads(printed)["variants"][0]["max_delta"] < 1e-4


def test_the_gate_itself_refuses_a_mixture(hub: HubEndpoint, run: Said) -> None:
    run("build", "--revision", "v1", "--variants", VARIANT)
    run("build", "--variants", "onnx-fp32")
    store = Store(REPO)
    mixture = [store.standing(name) for name in ("onnx-fp32", VARIANT)]
    with pytest.raises(UnusableInputError, match="made of different models or revisions"):
        gate(store, mixture, find_gold("gold.jsonl"))


def test_a_later_main_is_not_mixed_with_what_stands(hub: HubEndpoint, run: Said) -> None:
    run("build", "--variants", VARIANT)
    before = hub.commit
    hub.revisions["before"] = Path(shutil.copytree(hub.folder, hub.folder.parent / "before"))
    retrain(hub.folder, 2)
    assert hub.commit != before
    run("check", "--gold", "gold.jsonl", "--variants", "onnx-fp32")
    assert commits() == {before}
    run("build", "--variants", VARIANT)
    run("predict", TEXT, "--variant", "onnx-fp32")
    assert commits() == {hub.commit}


def test_without_the_network_the_last_known_commit_counts(
    hub: HubEndpoint, run: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("build", "--revision", "v1", "--variants", VARIANT)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, printed, _ = run("predict", TEXT, "--variant", VARIANT, "--revision", "v1")
    assert code == 0
    assert_answers(printed, hub.revisions["v1"])
    code, _, said = run("predict", TEXT, "--variant", VARIANT, "--revision", "v2")
    assert code == 2
    assert "which commit 'v2' of test/tiny-bert is, is not known" in said


@pytest.mark.parametrize(
    "command",
    [
        "build", "check", f"predict {TEXT}", "serve", "sweep", "bench", "compare a b",
        "capacity onnx-int8 --slo p95=1s", "tune onnx-int8 --slo p95=1s", "explain onnx-int8",
        "export --triton repository", "bundle onnx-int8 deployment",
    ],
)  # fmt: skip
def test_every_command_takes_a_revision(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = command.replace("compare a b", "compare onnx-int8 onnx-int8")
    assert main([*command.split(), "--model", "builtin-small", "--revision", "v1"]) == 2
    assert "builtin-small has no revisions" in capsys.readouterr().err


def test_from_python_too(hub: HubEndpoint) -> None:
    for revision, folder in (("v1", hub.revisions["v1"]), ("main", hub.folder)):
        predictor = tiankong.open_predictor(VARIANT, REPO, revision=revision)
        ((ranking,),) = predictor.predict([TEXT])
        assert_answers("\n".join(f"{t}\t{score:.4f}" for t, score in ranking), folder)
