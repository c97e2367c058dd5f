"""The real huggingface_hub against a hub on localhost, with everything that can go wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hub_endpoint import HubEndpoint, commit_of, save_tiny_model

from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.models import hub
from tiankong.toolkit.models import loading as models
from tiankong.toolkit.models.builtin import catalogue
from tiankong.toolkit.models.hub_cache import cache_folder, cached_snapshots

REPO = "test/tiny-bert"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder, to be copied before it is changed."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def endpoint(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubEndpoint]:
    """A hub with the tiny model, and an empty cache."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE_", "TRANSFORMERS_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    folder = tmp_path / "repository"
    shutil.copytree(tiny, folder)
    with HubEndpoint(folder, REPO) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # the library's waits
        yield server


def refused(name: str = REPO, revision: str | None = None) -> str:
    """Return the one-line error of a download that is refused."""
    with pytest.raises(UnusableInputError) as caught:
        hub.download(name, revision)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line


def blobs() -> list[Path]:
    """Return every blob in the cache, complete or not."""
    return sorted(cache_folder().glob("models--*/blobs/*"))


def test_download_records_the_commit(endpoint: HubEndpoint) -> None:
    snapshot = hub.download(REPO)
    assert re.fullmatch("[0-9a-f]{40}", snapshot.revision)
    assert snapshot.revision == endpoint.commit
    assert snapshot.repo_id == REPO
    assert snapshot.folder.is_relative_to(os.environ["HF_HOME"])
    for name in ("config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"):
        assert (snapshot.folder / name).read_bytes() == (endpoint.folder / name).read_bytes()
    assert cached_snapshots() == [snapshot]


def test_only_what_a_model_needs_is_fetched(endpoint: HubEndpoint) -> None:
    for name in ("pytorch_model.bin", "flax_model.msgpack", "README.md", "other.safetensors"):
        (endpoint.folder / name).write_bytes(b"not wanted")
    names = {path.name for path in hub.download(REPO).folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"}


def test_the_model_loads_and_says_where_it_came_from(endpoint: HubEndpoint) -> None:
    loaded = models.load_model(REPO)
    assert (loaded.info.source, loaded.info.revision) == ("hub", endpoint.commit)
    assert loaded.info.caveat == ""
    assert loaded.tokenizer.encode("床[MASK]").tokens == ["[CLS]", "床", "[MASK]", "[SEP]"]
    assert [info.name for info in models.list_models()] == [*catalogue.NAMES, REPO]
    assert models.list_models()[-1] == loaded.info


@pytest.mark.skipif(not catalogue.BUILTIN_WEIGHTS.is_file(), reason="the weights are not there yet")
def test_the_built_in_model_travels_through_a_hub(endpoint: HubEndpoint) -> None:
    import torch

    small = models.load_model("builtin-small")
    shutil.rmtree(endpoint.folder)
    small.network.save_pretrained(endpoint.folder)
    small.tokenizer.save(str(endpoint.folder / "tokenizer.json"))
    fetched = models.load_model(REPO)
    text = "床前明月光,疑是地[MASK]霜。"
    ids = torch.tensor([small.tokenizer.encode(text).ids])
    assert fetched.tokenizer.encode(text).ids == ids[0].tolist()
    with torch.no_grad():
        assert torch.equal(fetched.network(ids).logits, small.network(ids).logits)


@pytest.mark.parametrize(
    ("requests", "advice"),
    [
        ({1: "someone", 3: "SFconvertbot", 4: "SFconvertb0t"}, "--revision refs/pr/3"),
        ({1: "someone"}, ""),
        (None, "the hub's own only if the account SFconvertbot opened it: see"),
    ],
)
def test_only_the_hubs_own_conversion_is_advised(
    endpoint: HubEndpoint, requests: dict[int, str] | None, advice: str
) -> None:
    (endpoint.folder / "model.safetensors").rename(endpoint.folder / "pytorch_model.bin")
    endpoint.requests = requests
    line = refused()
    assert advice in line
    assert ("refs/pr" in line) == bool(advice)


def test_a_conversion_is_not_advised_where_it_cannot_be_taken(
    endpoint: HubEndpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(endpoint.folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UnusableInputError, match="--convert-pickle") as caught:
        models.load_model(str(folder))
    assert "refs/pr" not in str(caught.value)


def test_a_pull_request_can_be_named(endpoint: HubEndpoint, tmp_path: Path) -> None:
    converted = tmp_path / "converted"
    shutil.copytree(endpoint.folder, converted)
    endpoint.revisions["refs/pr/3"] = converted
    (endpoint.folder / "model.safetensors").rename(endpoint.folder / "pytorch_model.bin")
    assert hub.download(REPO, "refs/pr/3").revision == commit_of(converted)
    assert hub.resolve(REPO, "refs/pr/3") == commit_of(converted)
    endpoint.stop()
    assert hub.resolve(REPO, "refs/pr/3") == commit_of(converted)
    with pytest.raises(UnusableInputError, match=r"is not known and .* cannot be reached"):
        hub.resolve(REPO, "refs/pr/4")


def test_second_use_fetches_nothing(endpoint: HubEndpoint) -> None:
    first = hub.download(REPO)
    fetched = endpoint.counts["GET"]
    assert hub.download(REPO) == first
    assert endpoint.counts["GET"] == fetched


def test_a_cached_commit_asks_nobody(
    endpoint: HubEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    first = hub.download(REPO)
    capsys.readouterr()
    before = endpoint.counts.total()
    assert hub.download(REPO, endpoint.commit) == first
    assert endpoint.counts.total() == before
    assert endpoint.commit in capsys.readouterr().err


def test_a_moved_branch_is_followed(endpoint: HubEndpoint) -> None:
    first = hub.download(REPO)
    (endpoint.folder / "vocab.txt").write_text("changed")
    second = hub.download(REPO)
    assert second.revision == endpoint.commit != first.revision
    assert (second.folder / "vocab.txt").read_text() == "changed"


OFFLINE_USE = f"from tiankong.toolkit.models import hub; print(hub.download({REPO!r}).revision)"


def in_another_process() -> subprocess.CompletedProcess[str]:
    """Download in a fresh interpreter, as a user's second command does."""
    command = [sys.executable, "-c", OFFLINE_USE]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_second_command_without_the_hub_uses_the_cache(endpoint: HubEndpoint) -> None:
    first = in_another_process()
    assert first.stdout.strip() == endpoint.commit, first.stderr
    assert "downloading test/tiny-bert" in first.stderr
    endpoint.stop()
    second = in_another_process()
    assert second.stdout == first.stdout, second.stderr
    lines = second.stderr.splitlines()
    assert len(lines) == 1
    assert "cannot be reached" in lines[0]
    assert f"using {REPO} at {endpoint.commit} from the cache" in lines[0]


def test_offline_by_choice(endpoint: HubEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in refused()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    first = hub.download(REPO)
    before = endpoint.counts.total()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.download(REPO) == first
    assert endpoint.counts.total() == before


def test_nothing_cached_and_no_hub(endpoint: HubEndpoint) -> None:
    endpoint.stop()
    line = refused()
    assert "cannot be reached" in line
    assert "connect to the network, set HF_ENDPOINT" in line


def test_a_cache_with_a_hole_is_not_used(endpoint: HubEndpoint) -> None:
    snapshot = hub.download(REPO)
    (snapshot.folder / "tokenizer_config.json").unlink()
    endpoint.stop()
    assert "is not whole in the cache" in refused()
    assert "is not whole in the cache" in refused(revision=snapshot.revision)


def test_a_hub_in_trouble_leaves_the_cache(
    endpoint: HubEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    first = hub.download(REPO)
    endpoint.switches.status = 503
    assert hub.download(REPO) == first
    assert "from the cache" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.safetensors", "only pytorch_model.bin: a pickle can run code"),
        ("config.json", "has no config.json"),
        ("vocab.txt", "has no tokenizer"),
    ],
)
def test_a_repository_without_a_file(endpoint: HubEndpoint, name: str, words: str) -> None:
    (endpoint.folder / "pytorch_model.bin").write_bytes(b"pickle")
    (endpoint.folder / name).unlink()
    assert words in refused()
    assert blobs() == []


def test_a_listed_file_that_is_not_served(endpoint: HubEndpoint) -> None:
    endpoint.switches.missing.add("model.safetensors")
    line = refused()
    assert f"lists a file of {REPO} that it does not serve" in line
    assert "model.safetensors" in line
    assert cached_snapshots() == []


def test_a_transfer_cut_once_is_resumed(
    endpoint: HubEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # it resumes at one
    endpoint.switches.cut_after["model.safetensors"] = 1000
    endpoint.switches.cuts = 1
    snapshot = hub.download(REPO)
    assert endpoint.ranges == ["bytes=1000-"]
    weights = "model.safetensors"
    assert (snapshot.folder / weights).read_bytes() == (endpoint.folder / weights).read_bytes()


def test_a_transfer_that_stays_cut_leaves_nothing_half_written(endpoint: HubEndpoint) -> None:
    endpoint.switches.cut_after["model.safetensors"] = 1000
    line = refused()
    assert "was cut off" in line
    assert "run the command again" in line
    assert [path.name for path in blobs() if path.stat().st_size == 1000] == []
    assert not list(cache_folder().rglob("*.incomplete"))
    assert cached_snapshots() == []
    endpoint.stop()
    assert "is not whole in the cache" in refused()


def test_a_short_file_is_refused(endpoint: HubEndpoint) -> None:
    endpoint.switches.short.add("model.safetensors")
    assert "was cut off" in refused()
    assert cached_snapshots() == []


@pytest.mark.parametrize(
    ("name", "words"), [("model.safetensors", "SHA-256"), ("vocab.txt", "git blob id")]
)
def test_wrong_content_is_deleted(endpoint: HubEndpoint, name: str, words: str) -> None:
    endpoint.switches.wrong.add(name)
    line = refused()
    assert f"{name} of {REPO} is not the hub's file" in line
    assert words in line
    assert cached_snapshots() == []
    endpoint.switches.wrong.clear()
    snapshot = hub.download(REPO)
    assert (snapshot.folder / name).read_bytes() == (endpoint.folder / name).read_bytes()


def test_damage_in_the_cache_is_found_offline(endpoint: HubEndpoint) -> None:
    snapshot = hub.download(REPO)
    weights = (snapshot.folder / "model.safetensors").resolve()
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "SHA-256" in refused(revision=snapshot.revision)
    assert not weights.exists()
    assert hub.download(REPO) == snapshot


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "was not found at"),
        (401, "RepoNotFound", "or set HF_TOKEN to a token that may read it"),
        (401, "", "was not found at"),
        (403, "GatedRepo", "is gated: ask for access at"),
        (401, "GatedRepo", "is gated: ask for access at"),
        (403, "", "is gated"),
    ],
)
def test_refusals(endpoint: HubEndpoint, status: int, code: str, words: str) -> None:
    endpoint.switches.status, endpoint.switches.error_code = status, code
    assert words in refused()


def test_a_refusal_is_never_papered_over_by_the_cache(endpoint: HubEndpoint) -> None:
    hub.download(REPO)
    endpoint.switches.status, endpoint.switches.error_code = 404, "RepoNotFound"
    assert "was not found" in refused()


def test_unknown_repository_and_revision(endpoint: HubEndpoint) -> None:
    assert "test/other was not found" in refused("test/other")
    assert "has no revision 'v2'" in refused(revision="v2")


@pytest.mark.parametrize(
    "name", ["a/b/c", "two words", "a--b", "-x", "x.git", "a..b", "模型", "", "x" * 97]
)
def test_names_no_hub_can_have(endpoint: HubEndpoint, name: str) -> None:
    assert "neither a folder nor a name a hub can have" in refused(name)
    assert endpoint.counts.total() == 0


@pytest.mark.parametrize("revision", ["../main", "/etc", "a b", "-x", "refs/../../x"])
def test_revisions_that_are_none(endpoint: HubEndpoint, revision: str) -> None:
    assert "is no revision" in refused(revision=revision)
    assert endpoint.counts.total() == 0


def test_shards_come_with_their_index(endpoint: HubEndpoint) -> None:
    from safetensors.torch import load_file, save_file

    weights = endpoint.folder / "model.safetensors"
    tensors = sorted(load_file(weights).items())
    weights.unlink()
    parts = {"model-00001-of-00002.safetensors": tensors[:5]}
    parts["model-00002-of-00002.safetensors"] = tensors[5:]
    for name, part in parts.items():
        save_file(dict(part), endpoint.folder / name)
    places = {key: name for name, part in parts.items() for key, _ in part}
    (endpoint.folder / hub.INDEX).write_text(hub_index(places))
    loaded = models.load_model(REPO)
    assert loaded.info.revision == endpoint.commit
    endpoint.stop()
    (cached_snapshots()[0].folder / "model-00002-of-00002.safetensors").unlink()
    assert "is not whole in the cache" in refused()


def hub_index(places: dict[str, str]) -> str:
    """Return a weight index's JSON."""
    return json.dumps({"metadata": {}, "weight_map": places})


def test_progress_is_in_bytes_and_ends_at_the_total(
    endpoint: HubEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[int] = []

    @contextmanager
    def noted(what: str, total: int) -> Iterator[Callable[[int], None]]:
        assert total == sum(path.stat().st_size for path in endpoint.files())
        yield reports.append
        assert reports[-1] == total

    monkeypatch.setattr(hub, "download_progress", noted)
    hub.download(REPO)
    assert reports == sorted(set(reports))


def test_something_that_is_no_hub(endpoint: HubEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "no-scheme.invalid")
    assert "no-scheme.invalid cannot be reached" in refused()
