"""Atomic writes of files and folders, and checks of free space."""

from __future__ import annotations

import doctest
import hashlib
import os
import shutil
import zlib
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tiankong.toolkit import files
from tiankong.toolkit.errors import UnusableInputError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_artifacts_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", "/somewhere")
    assert files.artifacts() == Path("/somewhere")
    monkeypatch.delenv("TIANKONG_ARTIFACTS")
    assert files.artifacts() == Path("artifacts")


@pytest.mark.parametrize("content", [b"abc", b""])
def test_sums(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert int(files.crc32(tmp_path / "a"), 16) == zlib.crc32(content)


def test_write_text_replaces_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    files.write_text(path, "one")
    files.write_text(path, "二")
    assert path.read_text(encoding="utf-8") == "二"
    assert names(path.parent) == ["a.txt"]


def test_write_text_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "one")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "two \ud800")
    assert path.read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def test_json_roundtrip_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(UnusableInputError, match="does not exist"):
        files.read_json(path)
    files.write_json(path, {"字": [1, None]})
    assert files.read_json(path) == {"字": [1, None]}
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert files.read_json(path) == [1]
    path.write_bytes(b"{")
    with pytest.raises(UnusableInputError, match="cannot be read as JSON"):
        files.read_json(path)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("字\n".encode(), "字\n"),
        ("字\r\n".encode("utf-8-sig"), "字\r\n"),
        ("\ufeff字".encode("utf-8-sig"), "字"),
        ("a\ufeffb".encode(), "a\ufeffb"),
        (b"", ""),
    ],
)
def test_a_text_is_read_without_the_mark_before_it(
    tmp_path: Path, content: bytes, text: str
) -> None:
    (tmp_path / "a").write_bytes(content)
    assert files.read_text(tmp_path / "a") == text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("字".encode("utf-16"), "it is UTF-16, save it as UTF-8"),
        ("\ufeff字".encode("utf-16-be"), "it is UTF-16, save it as UTF-8"),
        ("ab".encode("utf-16-le"), "it is UTF-16, save it as UTF-8"),
        ("字".encode("utf-32"), "it is UTF-32, save it as UTF-8"),
        (b"one\ntwo\n" + "字".encode("gb18030"), "line 3 is not UTF-8, save it as UTF-8"),
    ],
)
def test_a_text_that_is_not_utf_8_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnusableInputError) as caught:
        files.read_text(tmp_path / "a", "gold file b")
    assert words in str(caught.value)
    assert str(caught.value).startswith("gold file b cannot be read: ")
    assert "\n" not in str(caught.value)


def test_half_a_surrogate_in_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(r'{"a": ["\ud83d\ude00", "\\ud83d"]}')
    assert files.read_json(path) == {"a": ["😀", r"\ud83d"]}
    path.write_text(r'{"a": ["\uD83D"]}')
    with pytest.raises(UnusableInputError, match=r"half a surrogate, \\ud83d"):
        files.read_json(path)
    assert doctest.testmod(files).attempted == 1
    assert doctest.testmod(files).failed == 0


def test_a_folder_takes_its_place_whole(tmp_path: Path) -> None:
    folder = tmp_path / "variants" / "v"
    with files.folder_written_whole(folder) as place:
        (place / "a").write_text("1")
        assert not folder.exists()
    with files.folder_written_whole(folder) as place:
        (place / "b").write_text("2")
        assert names(folder) == ["a"]
    assert names(folder) == ["b"]
    assert names(folder.parent) == ["v"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_folder_leaves_the_old_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "a").write_text("1")
    with pytest.raises(error), files.folder_written_whole(folder) as place:  # noqa: PT012
        (place / "b").write_text("half")
        raise error
    assert names(tmp_path) == ["v"]
    assert names(folder) == ["a"]


def test_at_the_end_what_this_process_writes_is_removed_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / f".folder.{os.getpid()}.part"  # as a container with the same number writes
    other.mkdir()
    files.remove_scratch()
    assert other.is_dir()
    writing = files.folder_written_whole(tmp_path / "own")
    (writing.__enter__() / "half").write_text("of it")
    assert len(names(tmp_path)) == 2
    files.remove_scratch()
    assert names(tmp_path) == [other.name]
    with pytest.raises(FileNotFoundError):  # what its thread meets
        writing.__exit__(None, None, None)
    assert names(tmp_path) == [other.name]
    assert not files.SCRATCH


def test_a_rename_that_fails_puts_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    (folder / "a").write_text("1")
    rename = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError("no more")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="no more"), files.folder_written_whole(folder) as place:
        (place / "b").write_text("2")
    assert names(tmp_path) == ["v"]
    assert names(folder) == ["a"]


def test_require_disk_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 * files.MEBIBYTE))
    files.require_disk(tmp_path / "not" / "yet", 5 * files.MEBIBYTE, "this")
    with pytest.raises(UnusableInputError) as caught:
        files.require_disk(tmp_path / "not" / "yet", 7 * files.MEBIBYTE, "building")
    message = str(caught.value)
    for part in ("building needs 7 MiB", str(tmp_path), "has 5 MiB", "TIANKONG_ARTIFACTS"):
        assert part in message
    assert "\n" not in message
    assert not (tmp_path / "not").exists()


def test_require_memory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(available=5 * files.MEBIBYTE)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    files.require_memory(5 * files.MEBIBYTE, "this")
    with pytest.raises(UnusableInputError, match="loading needs about 9 MiB of memory, 5 MiB"):
        files.require_memory(9 * files.MEBIBYTE, "loading")


def test_memory_is_given_back() -> None:
    process = psutil.Process()
    pieces = [b"x" * 100_000 for _ in range(2_000)]
    held, pieces[:-1] = process.memory_info().rss, []
    files.give_memory_back()
    assert process.memory_info().rss < held - 150_000_000
