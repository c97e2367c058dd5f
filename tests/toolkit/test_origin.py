"""The command line that made a result, without secrets and places; the commit it was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tiankong.toolkit import origin
from tiankong.toolkit.files import PACKAGE

MAIN = str(PACKAGE / "__main__.py")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["sweep", "--plan", "table"], ["sweep", "--plan", "table"]),
        (["sweep", "--header", "Authorization: Bearer s3cret"], ["--header", "Authorization: …"]),
        (["sweep", "--header=X-Key:s3cret"], ["--header=X-Key: …"]),
        (["sweep", "--header", "s3cret"], ["--header", "…"]),
        (["sweep", "--header=a: s3cret", "--header", "b: s3cret=="], ["--header", "b: …"]),
        (["report", "/home/me/runs/a.jsonl", "--out", "pages"], ["…/a.jsonl", "--out", "pages"]),
        (["bench", "--out=/home/me/pages"], ["--out=…/pages"]),
        (["predict", "a=b"], ["a=b"]),
    ],
)
@pytest.mark.parametrize("program", ["/usr/local/bin/tiankong", MAIN])
def test_the_command_line_has_no_secret_and_no_place(
    program: str, words: list[str], shown: list[str]
) -> None:
    command = origin.command_line([program, *words])
    assert command[0] == "tiankong"
    assert command[-len(shown) :] == shown
    assert len(command) == 1 + len(words)
    assert not any("s3cret" in word or "home" in word for word in command)


def test_a_task_runner_says_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [MAIN, "bench", "--plan", "table", "--out", "reports/pages"])
    monkeypatch.setenv(
        origin.COMMAND, "nox -s bench -- --plan full --gold '/home/me/my gold.jsonl'"
    )
    words = ["nox", "-s", "bench", "--", "--plan", "full", "--gold", "…/my gold.jsonl"]
    assert origin.command_line() == words
    monkeypatch.delenv(origin.COMMAND)
    assert origin.command_line()[:2] == ["tiankong", "bench"]
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest"])
    monkeypatch.setenv(origin.COMMAND, "nox -s tests")
    assert origin.command_line() == []


@pytest.mark.parametrize("program", ["/usr/bin/pytest", "", "-c", "/srv/app/__main__.py"])
def test_another_program_s_command_line_is_not_ours(program: str) -> None:
    assert origin.command_line([program, "--password", "s3cret"]) == []


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, which the package is said to be in."""
    (tmp_path / "file").write_text("1")
    for words in (
        ("init", "-q"),
        ("add", "file"),
        ("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-q", "-m", "first"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(origin, "PACKAGE", tmp_path)
    return tmp_path


def test_the_commit_of_a_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    head = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    (checkout / "untracked").write_text("1")
    assert origin.commit() == head
    (checkout / "file").write_text("2")
    assert origin.commit() == head + origin.CHANGED


def test_without_git_or_a_record_the_commit_is_not_known(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(origin.COMMIT, raising=False)
    monkeypatch.setenv("PATH", "")
    assert origin.commit() == ""
    monkeypatch.setattr(origin, "PACKAGE", tmp_path_factory.mktemp("installed"))
    monkeypatch.setattr(origin, "PROGRAM", "no-such-distribution")
    assert origin.commit() == ""
    monkeypatch.setenv(origin.COMMIT, "abc123+changed")  # as who installed it says
    assert origin.commit() == "abc123+changed"


def test_the_commit_that_pip_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = tmp_path / "tiankong-0.1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: tiankong\nVersion: 0.1.0\n")
    (record / "direct_url.json").write_text(
        '{"url": "https://example.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}'
    )
    monkeypatch.setattr(origin, "PACKAGE", tmp_path / "package")
    monkeypatch.syspath_prepend(tmp_path)
    assert origin.commit() == "abc123"
