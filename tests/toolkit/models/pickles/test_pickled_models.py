"""Models with pickled weights only, in a folder or on the hub: converted if asked for."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hub_endpoint import HubEndpoint, save_tiny_model

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.files import ARTIFACTS, sha256
from tiankong.toolkit.models import loading
from tiankong.toolkit.models.hub_cache import cached_snapshots

if TYPE_CHECKING:
    import torch

PICKLE = "pytorch_model.bin"
WEIGHTS = "model.safetensors"
REPO = "test/tiny-bert"
State = dict[str, "torch.Tensor"]


@pytest.fixture(autouse=True)
def artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "artifacts"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model with its weights in both formats."""
    import torch
    from safetensors.torch import load_file

    folder = save_tiny_model(tmp_path / "tiny")
    torch.save(load_file(folder / WEIGHTS), folder / PICKLE)
    return folder


@pytest.fixture
def pickled(folder: Path) -> Path:
    (folder / WEIGHTS).unlink()
    return folder


@pytest.fixture
def hub(pickled: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubEndpoint]:
    with HubEndpoint(pickled, REPO) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint.url)
        yield endpoint


def state(model: str, revision: str | None = None) -> State:
    return dict(loading.load_model(model, revision, convert_pickle=True).network.state_dict())


def refused(model: str, *, convert_pickle: bool = False) -> str:
    with pytest.raises(UnusableInputError) as caught:
        loading.load_model(model, convert_pickle=convert_pickle)
    line = str(caught.value)
    assert "\n" not in line
    return line


def same(one: State, other: State) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def test_a_folder_gives_the_same_network(folder: Path, artifacts: Path) -> None:
    with_safetensors = state(str(folder))
    assert not (artifacts / "converted").exists()  # the pickle beside them was not read
    (folder / WEIGHTS).unlink()
    loaded = loading.load_model(str(folder), convert_pickle=True)
    assert same(with_safetensors, dict(loaded.network.state_dict()))
    digest = sha256(folder / PICKLE)
    assert loaded.info.revision == digest
    assert dict(loaded.pickles) == {PICKLE: digest}
    converted = artifacts / "converted" / f"tiny@{digest}"
    assert (converted / WEIGHTS).is_file()
    assert (converted / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()
    assert loading.config_of(str(folder), convert_pickle=True)["model_type"] == "bert"


def test_a_pickle_beside_safetensors_is_never_read(folder: Path) -> None:
    (folder / PICKLE).write_bytes(pickle.dumps(os.system))
    assert loading.load_model(str(folder), convert_pickle=True).pickles == {}
    (folder / WEIGHTS).write_bytes(b"damaged")
    assert "is no whole safetensors file" in refused(str(folder), convert_pickle=True)


def test_the_refusal_names_the_option(pickled: Path, artifacts: Path) -> None:
    line = refused(str(pickled))
    assert "only pytorch_model.bin" in line
    assert "--convert-pickle converts it to safetensors once" in line
    assert not (artifacts / "converted").exists()
    with pytest.raises(UnusableInputError, match="--convert-pickle"):
        loading.config_of(str(pickled))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf_model.h5", "only tf_model.h5: weights of TensorFlow and Flax are not read"),
        ("flax_model.msgpack", "weights of TensorFlow and Flax are not read"),
        ("model.ckpt", "only pytorch_model.bin can be converted"),
        ("README.md", "has no model.safetensors: name a model or a revision that has it"),
    ],
)
def test_other_formats_are_refused_truthfully(pickled: Path, name: str, words: str) -> None:
    (pickled / PICKLE).rename(pickled / name)
    assert words in refused(str(pickled))
    assert words in refused(str(pickled), convert_pickle=True)


def test_a_missing_shard_is_named(pickled: Path) -> None:
    (pickled / PICKLE).rename(pickled / "pytorch_model-00001-of-00002.bin")
    index = {
        "weight_map": {
            "a": "pytorch_model-00001-of-00002.bin",
            "b": "pytorch_model-00002-of-00002.bin",
        }
    }
    (pickled / f"{PICKLE}.index.json").write_text(json.dumps(index))
    line = refused(str(pickled), convert_pickle=True)
    assert "pytorch_model-00002-of-00002.bin is missing" in line


def test_a_hub_model_is_converted_once(
    hub: HubEndpoint, artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = loading.load_model(REPO, convert_pickle=True)
    assert loaded.info.revision == hub.commit
    assert dict(loaded.pickles) == {PICKLE: sha256(hub.folder / PICKLE)}
    converted = artifacts / "converted" / f"test--tiny-bert@{hub.commit}"
    assert (converted / WEIGHTS).is_file()
    assert "converted to safetensors" in capsys.readouterr().err
    again = state(REPO)
    assert "converted" not in capsys.readouterr().err
    assert same(again, dict(loaded.network.state_dict()))
    hub.stop()
    assert same(state(REPO), again)  # from the cache
    assert same(state(REPO, hub.commit), again)
    assert cached_snapshots() == []  # without the option there is no such model


def test_a_hub_model_in_shards(hub: HubEndpoint) -> None:
    import torch

    whole = state(REPO)
    weights = torch.load(hub.folder / PICKLE)
    shards = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    where = {name: shards[number % 2] for number, name in enumerate(weights)}
    for shard in shards:
        torch.save({n: t for n, t in weights.items() if where[n] == shard}, hub.folder / shard)
    (hub.folder / f"{PICKLE}.index.json").write_text(json.dumps({"weight_map": where}))
    (hub.folder / PICKLE).unlink()
    assert same(state(REPO), whole)


def test_the_hubs_refusal_names_the_option(hub: HubEndpoint) -> None:
    line = refused(REPO)
    assert line.startswith(f"{REPO} at {hub.commit[:12]} has no model.safetensors")
    assert "--convert-pickle" in line
    assert hub.counts["GET"] == 0  # nothing was fetched


def test_the_hubs_digest_is_held(hub: HubEndpoint, artifacts: Path) -> None:
    hub.switches.wrong.add(PICKLE)
    assert "is not the hub's file (its SHA-256" in refused(REPO, convert_pickle=True)
    assert not (artifacts / "converted").exists()
    hub.switches.wrong.clear()
    state(REPO)
    (blob,) = (p.resolve() for p in Path(os.environ["HF_HUB_CACHE"]).rglob(PICKLE))
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")  # damaged in the cache
    assert "is not the hub's file" in refused(REPO, convert_pickle=True)


def test_safetensors_of_the_hub_come_first(hub: HubEndpoint, artifacts: Path) -> None:
    converted = state(REPO)
    save_tiny_model(hub.folder)
    assert same(state(REPO), converted)
    assert len(list((artifacts / "converted").iterdir())) == 1
    assert hub.counts["GET"] > 0
