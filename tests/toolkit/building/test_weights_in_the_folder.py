"""An ONNX file's weights lie in its folder: every way out of it, from every place, at both doors.

The doors are the folder of a variant that is opened, and a file somebody brings.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from external_models import PLACES, Place, initializer, outside, saved, training_begin

from tiankong.toolkit.building.brought import bring
from tiankong.toolkit.building.external_data import external_files
from tiankong.toolkit.building.integrity import require_sound
from tiankong.toolkit.building.manifest import NAME, record_files
from tiankong.toolkit.building.onnx_file import read_onnx_file
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.trial import Offer
from tiankong.toolkit.errors import UnusableInputError

if TYPE_CHECKING:
    from tiankong.toolkit.building.folders import Built


@dataclass(frozen=True)
class Trouble:
    """An error in a place, and the message about it; SECRET is an absolute path."""

    location: str | None
    said: str


OUT, LINK, GONE = "outside its folder", "a symbolic link", "missing or is not a file"
TROUBLES = {
    "above": Trouble("../secret", OUT),
    "above by a detour": Trouble("sub/../../secret", OUT),
    "absolute": Trouble("SECRET", OUT),
    "absolute on Windows": Trouble("C:\\secret", OUT),
    "above on Windows": Trouble("..\\secret", OUT),
    "backslash": Trouble("sub\\own.data", OUT),
    "empty": Trouble("", OUT),
    "not said": Trouble(None, OUT),
    "with a zero byte": Trouble("own.data\0", OUT),
    "in memory": Trouble("*/_ORT_MEM_ADDR_/*", OUT),
    "a link": Trouble("link", LINK),
    "a link to its own folder": Trouble("own-link", LINK),
    "behind a link": Trouble("behind/secret", LINK),
    "gone": Trouble("gone", GONE),
    "a link to nothing": Trouble("dangling", GONE),
    "a link to itself": Trouble("loop", GONE),
    "a folder": Trouble("sub", GONE),
    "a pipe": Trouble("pipe", GONE),
}


def spoilt(folder: Path, place: Place, trouble: Trouble) -> Path:
    """Write a model with a trouble into a folder, with the files that the trouble needs."""
    secret = folder.parent / "secret"
    secret.write_bytes(bytes(16))
    location = trouble.location
    path = saved(folder, place(outside(str(secret) if location == "SECRET" else location)))
    (folder / "sub").mkdir()
    for name in ("own.data", "sub/own.data", "sub\\own.data", "..\\secret", "C:\\secret"):
        (folder / name).write_bytes(bytes(16))
    match location:
        case "link":
            (folder / "link").symlink_to(secret)
        case "own-link":
            (folder / "own-link").symlink_to("own.data")
        case "behind/secret":
            (folder / "behind").symlink_to(folder.parent, target_is_directory=True)
        case "dangling":
            (folder / "dangling").symlink_to("nothing")
        case "loop":
            (folder / "loop").symlink_to("loop")
        case "pipe":
            os.mkfifo(folder / "pipe")
    return path


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("place", PLACES)
def test_no_place_leads_out_of_the_folder(place: Place, trouble: str, tmp_path: Path) -> None:
    """What both doors ask: the first what a variant's manifest asks, the second what is brought."""
    path = spoilt(tmp_path / "model", place, TROUBLES[trouble])
    for ask in (lambda: require_sound(path.parent, path.name), lambda: read_onnx_file(path)):
        with pytest.raises(UnusableInputError, match=TROUBLES[trouble].said) as caught:
            ask()
        assert "\n" not in str(caught.value)


# --- the doors themselves -----------------------------------------------------------------------


@pytest.fixture
def variant(
    small_variants: dict[str, Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A variant's folder that lacks its model; whoever opens a session in the test fails it."""
    import onnxruntime

    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("a session"))
    gone = shutil.ignore_patterns("onnx")
    source = small_variants["onnx-fp32"].folder
    return Path(shutil.copytree(source, tmp_path / "variant", ignore=gone))


def open_folder(variant: Path) -> None:
    """Open the variant with a manifest that matches the folder's files."""
    data = json.loads((variant / NAME).read_text(encoding="utf-8"))
    records = record_files(variant)
    data["files"] = {n: {"size": r.size, "sha256": r.sha256} for n, r in records.items()}
    (variant / NAME).write_text(json.dumps(data), encoding="utf-8")
    open_variant(variant)


def bring_file(variant: Path) -> None:
    """Bring its model, with its tokenizer."""
    bring(Offer(variant / "onnx" / "model.onnx", variant))


Door = Callable[[Path], None]


@pytest.mark.parametrize("door", [open_folder, bring_file])
@pytest.mark.parametrize("place", PLACES)
def test_no_door_opens_for_weights_above_the_folder(
    place: Place, door: Door, variant: Path
) -> None:
    spoilt(variant / "onnx", place, TROUBLES["above"])
    with pytest.raises(UnusableInputError, match=OUT):
        door(variant)


@pytest.mark.parametrize("door", [open_folder, bring_file])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_no_door_opens_for_any_trouble(trouble: str, door: Door, variant: Path) -> None:
    spoilt(variant / "onnx", training_begin, TROUBLES[trouble])
    said = TROUBLES[trouble].said
    if door is open_folder:  # no links and no pipes in a variant's folder, named or not
        said = {"a pipe": "is not in the manifest"}.get(
            trouble, LINK if "link" in trouble else said
        )
    with pytest.raises(UnusableInputError, match=said):
        door(variant)


# --- the one link that is allowed: a file in the hub's cache is a link to a blob ----------------


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """A snapshot in the hub's cache, its file without weights."""
    repository = tmp_path / "models--somebody--bert"
    folder = repository / "snapshots" / ("0" * 40) / "onnx"
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / "1").write_bytes(bytes(16))
    saved(folder, initializer(outside("own.data")))
    return folder


def test_a_link_to_a_blob_is_for_files_brought_only(snapshot: Path) -> None:
    path, data = snapshot / "model.onnx", snapshot / "own.data"
    data.symlink_to(Path("../../../blobs/1"))
    assert external_files(path, hub_links=True) == {"own.data": data}
    assert read_onnx_file(path).files["own.data"] == data
    for refused in (
        lambda: external_files(path),
        lambda: require_sound(snapshot, "model.onnx"),
    ):
        with pytest.raises(UnusableInputError, match=LINK):
            refused()


def out_of_the_cache(snapshot: Path, repository: Path) -> None:
    (repository.parent / "secret").write_bytes(bytes(16))
    (snapshot / "own.data").symlink_to(repository.parent / "secret")


def of_another_repository(snapshot: Path, repository: Path) -> None:
    shutil.copytree(repository / "blobs", repository.parent / "models--other" / "blobs")
    (snapshot / "own.data").symlink_to(repository.parent / "models--other" / "blobs" / "1")


def past_the_blobs(snapshot: Path, repository: Path) -> None:
    (repository / "blobs" / "2").symlink_to(repository.parent / "secret")
    (repository.parent / "secret").write_bytes(bytes(16))
    (snapshot / "own.data").symlink_to(repository / "blobs" / "2")


def blobs_elsewhere(snapshot: Path, repository: Path) -> None:
    (repository / "blobs").rename(repository.parent / "elsewhere")
    (repository / "blobs").symlink_to(repository.parent / "elsewhere")
    (snapshot / "own.data").symlink_to(repository / "blobs" / "1")


def beside(snapshot: Path, repository: Path) -> None:
    (snapshot / "other.data").write_bytes(bytes(16))
    (snapshot / "own.data").symlink_to("other.data")


def behind_a_linked_folder(snapshot: Path, repository: Path) -> None:
    saved(snapshot, initializer(outside("sub/1")))
    (snapshot / "sub").symlink_to(repository / "blobs", target_is_directory=True)


Leading = Callable[[Path, Path], None]


@pytest.mark.parametrize(
    "lead",
    [out_of_the_cache, of_another_repository, past_the_blobs, blobs_elsewhere, beside,
     behind_a_linked_folder],
)  # fmt: skip
def test_no_other_link_is(lead: Leading, snapshot: Path) -> None:
    lead(snapshot, snapshot.parents[2])
    with pytest.raises(UnusableInputError, match=LINK):
        read_onnx_file(snapshot / "model.onnx")


def test_blobs_are_nothing_outside_a_snapshot(snapshot: Path) -> None:
    moved = snapshot.parents[2] / "own"
    snapshot.rename(moved)
    (moved / "own.data").symlink_to("../blobs/1")
    with pytest.raises(UnusableInputError, match=LINK):
        read_onnx_file(moved / "model.onnx")
