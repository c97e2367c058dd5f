"""bench/proof/program.py: a proof ends as the toolkit's commands do."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tiankong.bench.proof import framework, schemes
from tiankong.bench.proof.program import command_line, ended_well
from tiankong.toolkit.errors import InvalidMeasurementError


def test_an_error_is_one_line_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving, ended_well("overhead"):
        raise InvalidMeasurementError("the machine was busy")
    assert leaving.value.code == 3
    assert capsys.readouterr() == ("", "overhead: the machine was busy\n")


@pytest.mark.parametrize(
    ("resumes", "said"),
    [
        (True, "tuning: interrupted; what was measured is kept, the same command goes on\n"),
        (False, "tuning: interrupted\n"),
    ],
)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_what_is_kept(sent: signal.Signals, resumes: bool, said: str) -> None:
    program = (
        "import time\n"
        "from tiankong.bench.proof.program import ended_well\n"
        f"with ended_well('tuning', resumes={resumes}):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        _, lines = process.communicate(timeout=30)
    assert (process.returncode, lines) == (130, said)


def test_the_help_is_the_docstring_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    text = "A proof.\n\n    with an example that keeps its line\n"
    with pytest.raises(SystemExit):
        command_line("mine", text).parse_args(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m tiankong.bench.proof.mine [-h] [--model MODEL]")
    assert "\n    with an example that keeps its line\n" in told
    assert command_line("mine", text, "builtin-small").parse_args([]).model == "builtin-small"


@pytest.mark.parametrize("proof", [framework, schemes])
def test_a_model_nobody_knows_is_one_line(
    proof: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["proof", "--model", "no-such-folder/nor hub"])
    with pytest.raises(SystemExit) as leaving:
        proof.main()  # type: ignore[attr-defined]
    assert leaving.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
