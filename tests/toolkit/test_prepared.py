"""toolkit/prepared.py: written once, used again, made anew when damaged, refused in one line."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tiankong.toolkit import prepared
from tiankong.toolkit.prepared import KEPT_SECONDS, SUMS, NotPreparedError, prepare


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
    monkeypatch.setattr(prepared.metadata, "version", lambda name: "99")
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
    long_ago = time.time() - KEPT_SECONDS - 60
    for folder in (old, used):
        os.utime(folder, (long_ago, long_ago))
    prepare(model, "used", "numpy", Writer())
    prepare(model, "new", "numpy", Writer())
    assert used.exists()
    assert not old.exists()


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
