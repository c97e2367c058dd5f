"""A prepared form is written once and used again, written again if damaged; errors are one line."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tiankong.toolkit.engines.prepared import (
    KEPT_SECONDS,
    SUMS,
    NotPreparedError,
    find,
    prepare,
    recall,
    remember,
)


class Writer:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "weights.bin").write_bytes(b"packed")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    path = tmp_path / "variant" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(b"model")
    return path


def test_written_once(model: Path) -> None:
    write = Writer()
    first = prepare(model, "digest", "numpy", write)
    assert prepare(model, "digest", "numpy", write) == first
    assert write.count == 1
    assert {file.name for file in first.iterdir()} == {"weights.bin", SUMS}


def test_another_model_library_or_version_is_another_one(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Writer()
    folders = {
        prepare(model, "digest", "numpy", write),
        prepare(model, "other", "numpy", write),
        prepare(model, "digest", "psutil", write),
    }
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    folders.add(prepare(model, "digest", "numpy", write))
    assert write.count == len(folders) == 4


@pytest.mark.parametrize("damage", [b"", b"packeD"])
def test_made_anew_when_damaged(model: Path, damage: bytes) -> None:
    write = Writer()
    folder = prepare(model, "digest", "numpy", write)
    (folder / "weights.bin").write_bytes(damage)
    assert prepare(model, "digest", "numpy", write) == folder
    assert (folder / "weights.bin").read_bytes() == b"packed"


def test_made_anew_when_half_of_it_is_missing(model: Path) -> None:
    write = Writer()
    folder = prepare(model, "digest", "numpy", write)
    (folder / SUMS).unlink()
    prepare(model, "digest", "numpy", write)
    assert write.count == 2


def test_what_nobody_used_for_a_month_goes(model: Path) -> None:
    old = prepare(model, "old", "numpy", Writer())
    used = prepare(model, "used", "numpy", Writer())
    remember(old, "streams", 2)
    remember(used, "streams", 2)
    long_ago = time.time() - KEPT_SECONDS - 60
    for folder in (old, used):
        os.utime(folder, (long_ago, long_ago))
    prepare(model, "used", "numpy", Writer())
    prepare(model, "new", "numpy", Writer())
    assert used.exists()
    assert recall(used, "streams") == 2
    assert not old.exists()
    assert recall(old, "streams") is None


def test_no_place_for_it(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "file"))
    with pytest.raises(NotPreparedError, match=r"^model\.onnx cannot be kept prepared: "):
        prepare(model, "digest", "numpy", Writer())


def test_a_failure_leaves_nothing(model: Path, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "weights.bin").write_bytes(b"half")
        raise RuntimeError("no kernel\nsecond line")

    with pytest.raises(NotPreparedError, match=r"no kernel$"):
        prepare(model, "digest", "numpy", fail)
    assert [file.name for file in (tmp_path / "artifacts" / "prepared").iterdir()] == [".lock"]


def test_servers_that_start_together_write_it_once(model: Path) -> None:
    write = Writer()

    def slowly(folder: Path) -> None:
        time.sleep(0.1)
        write(folder)

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(prepare, model, "digest", "numpy", slowly) for _ in range(4)]
        assert len({call.result() for call in calls}) == write.count == 1


def test_found_where_it_is_undamaged(model: Path) -> None:
    assert find("digest", "numpy") is None
    folder = prepare(model, "digest", "numpy", Writer())
    assert find("digest", "numpy") == folder
    assert find("other", "numpy") is None
    assert find("digest", "no such library") is None
    (folder / "weights.bin").write_bytes(b"packeD")
    assert find("digest", "numpy") is None


def test_what_was_measured_is_remembered(model: Path) -> None:
    folder = prepare(model, "digest", "numpy", Writer())
    assert recall(folder, "streams") is None
    remember(folder, "streams", 2)
    remember(folder, "other", 3)
    assert (recall(folder, "streams"), recall(folder, "other")) == (2, 3)
    assert find("digest", "numpy") == folder


@pytest.mark.parametrize("damage", ["", "[1]"])
def test_what_cannot_be_read_is_not_remembered(model: Path, damage: str) -> None:
    folder = prepare(model, "digest", "numpy", Writer())
    remember(folder, "streams", 2)
    (facts,) = folder.parent.glob("*.json")
    facts.write_text(damage)
    assert recall(folder, "streams") is None
    remember(folder, "streams", 3)
    assert recall(folder, "streams") == 3


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    remember(tmp_path / "file" / "folder", "streams", 2)
    assert recall(tmp_path / "file" / "folder", "streams") is None
