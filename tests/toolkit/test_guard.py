"""toolkit/guard.py: every end of a process is one line and the promised exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from tiankong.toolkit.errors import (
    GateFailedError,
    InvalidMeasurementError,
    UnusableInputError,
)
from tiankong.toolkit.guard import Guard, of_child, require_ground, trouble


def ended(error: BaseException) -> int:
    guard = Guard("tool", "; the rest is kept")
    with guard:
        raise error
    return guard.code


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (GateFailedError("it fails"), 1, "it fails"),
        (UnusableInputError("not\nusable"), 2, "not usable"),
        (InvalidMeasurementError("busy"), 3, "busy"),
        (KeyboardInterrupt(), 130, "interrupted; the rest is kept"),
        (SystemExit(130), 130, "interrupted; the rest is kept"),
        (SystemExit("a word"), 2, "a word"),
        (MemoryError(), 2, "Cannot allocate memory"),
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), 2, "a/b: No space left"),
        (OSError(errno.EMFILE, "Too many open files"), 2, "Too many open files: raise 'ulimit -n'"),
        (OSError(errno.ELOOP, "Too many levels", "l"), 2, "l: Too many levels"),
        (OSError(errno.ENXIO, "No such device", "d"), 2, "d: No such device"),
        (RuntimeError("std::bad_alloc"), 2, "std::bad_alloc: close other programs"),
        (RuntimeError("Error: No space left on device (os error 28)"), 2, "make room"),
        (ImportError("libx.so: failed to map segment from shared object"), 2, "larger machine"),
        (caused(KeyError("x"), OSError(errno.EROFS, "Read-only", "f")), 2, "f: Read-only"),
        (ModuleNotFoundError("no", name="locust.env"), 2, "pip install 'tiankong[bench]'"),
        (UnicodeDecodeError("utf-8", b"\xc4", 0, 1, "no"), 2, "byte 0xc4 at 0"),
        (UnicodeEncodeError("utf-8", "a\ud800", 1, 2, "no"), 2, "half a surrogate"),
        (UnicodeEncodeError("ascii", "上", 0, 1, "no"), 2, "'\\u4e0a'"),
    ],
)
def test_one_line_and_the_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(error) == code
    out, said = capsys.readouterr()
    assert (out, said.count("\n")) == ("", 1)
    assert said.startswith("tool: ")
    assert line in said


@pytest.mark.parametrize("code", [0, None, 2, 3])
def test_an_exit_code_is_passed_on_in_silence(
    code: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(SystemExit(code)) == (code or 0)
    assert capsys.readouterr() == ("", "")


def test_what_made_another_give_up_with_1_is_what_counts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = Guard("tool")
    with guard:
        try:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        except OSError:
            sys.exit(1)  # as Typer does
    assert guard.code == 2
    assert "Broken pipe: the reader closed it" in capsys.readouterr().err


def test_what_nobody_foresaw_is_a_report_and_a_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "made"))
    assert ended(ZeroDivisionError("division\nby zero")) == 70
    (report,) = (tmp_path / "made" / "unforeseen").iterdir()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"ZeroDivisionError: division by zero; the report is {report}" in said
    text = report.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert "raise error" in text
    assert "numpy " in text


def test_a_report_goes_elsewhere_where_the_artifacts_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert ended(ZeroDivisionError()) == 70
    (report,) = (tmp_path / "temporary" / "tiankong" / "unforeseen").iterdir()
    assert str(report) in capsys.readouterr().err
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    assert ended(ZeroDivisionError()) == 70
    assert "no report could be written (" in capsys.readouterr().err


def test_only_what_the_system_says_is_its_trouble() -> None:
    assert trouble(ValueError("wrong")) == ""
    assert trouble(ModuleNotFoundError("no", name="nobody_knows")) == ""
    assert trouble(OSError("a library's words")) == ""
    chance = KeyError("a mistake of ours")
    chance.__context__ = FileNotFoundError(errno.ENOENT, "No such file", "f")
    assert trouble(chance) == ""


def test_arguments_must_be_text() -> None:
    require_ground(["predict", "今天[MASK]"])
    with pytest.raises(
        UnusableInputError, match=r"argument 2 is not utf-8 text \(its bytes: c9 cf"
    ):
        require_ground(["predict", os.fsdecode("上".encode("gbk"))])


def test_a_trouble_of_a_childs_is_ours() -> None:
    full = of_child("the server ended (exit code 2): tiankong: f: No space left on device")
    assert full.exit_code == 2
    assert of_child("the server ended (exit code 2): its log is empty").exit_code == 3
