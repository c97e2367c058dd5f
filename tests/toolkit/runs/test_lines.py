from __future__ import annotations

from pathlib import Path

import pytest

from tiankong.toolkit.runs import lines
from tiankong.toolkit.runs.lines import append_line, read_lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text("")
    append_line(path, {"text": "字"})
    append_line(path, {"n": 2})
    return path


def test_a_line_an_object(path: Path) -> None:
    assert list(read_lines(path)) == [(1, '{"text":"字"}'), (2, '{"n":2}')]


@pytest.mark.parametrize("block", [1, 7, 64 * 1024])
@pytest.mark.parametrize("torn", [b"{", b'{"text":"' + "字".encode()[:2], b"x" * 1000])
def test_a_torn_last_line_is_none_and_is_cut_off(
    path: Path, torn: bytes, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK", block)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert [number for number, _ in read_lines(path)] == [1, 2]
    append_line(path, {"n": 3})
    assert path.read_bytes() == whole + b'{"n":3}\n'


def test_nothing_but_a_torn_line(path: Path) -> None:
    path.write_bytes(b"{" * 10)
    assert list(read_lines(path)) == []
    append_line(path, {"n": 1})
    assert path.read_bytes() == b'{"n":1}\n'


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        append_line(tmp_path / "none", {})
    assert not (tmp_path / "none").exists()
