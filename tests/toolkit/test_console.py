"""toolkit/console.py: a bar on a terminal, plain lines elsewhere, nothing on standard output."""

from __future__ import annotations

import io
import sys

import pytest

from tiankong.toolkit.console import download_progress, progress, say
from tiankong.toolkit.files import MEBIBYTE


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Called in the test itself: pytest puts its own stream there before each phase."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return made


def test_steps_are_lines_when_their_words_change(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("build", 3) as step:
        for words in ("onnx-fp32", "onnx-fp32", "onnx-int8"):
            step(words)
    assert capsys.readouterr() == ("", "build: onnx-fp32\nbuild: onnx-int8\n")


def test_a_download_says_a_line_at_every_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    total = 4 * MEBIBYTE
    with download_progress("a/model", total) as report:
        for done in range(0, total + 1, MEBIBYTE // 4):
            report(done)
    given = capsys.readouterr()
    assert given.out == ""
    assert given.err.splitlines() == [
        f"downloading a/model: {done}.0 of 4.0 MiB" for done in range(5)
    ]


def test_nothing_to_download_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with download_progress("a/model", 0) as report:
        report(0)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress("build", 2) as step:
        step("onnx-fp32")
        step("onnx-int8")
    drawn = terminal.getvalue()
    assert "build: onnx-int8" in drawn
    assert "1/2" in drawn
    assert capsys.readouterr().out == ""


def test_a_terminal_gets_a_bar_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with download_progress("a/model", 4 * MEBIBYTE) as report:
        report(MEBIBYTE)
    drawn = terminal.getvalue()
    assert "downloading a/model" in drawn
    assert "1.0/4.0 MiB" in drawn


def test_a_line_is_seen_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    say("one line")
    assert capsys.readouterr() == ("", "one line\n")
