"""Both command lines of the server take the same settings; all of it is made of one table."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tiankong.__main__ import app
from tiankong.server.__main__ import read_arguments
from tiankong.server.commands import takes
from tiankong.server.settings import TABLE, Setting, Settings

ROWS = [row for row in TABLE if row.name != "folder"]
# The real table with one more row, and what is then made of it.
ONE_MORE = """
import importlib.util, json, sys
from pathlib import Path

spec = importlib.util.find_spec("tiankong.server.settings")
table = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = table
source = Path(spec.origin).read_text(encoding="utf-8")
row = '    pace: int = setting("speed", 4, "how fast it goes", least=2)\\n'
source = source.replace("    spin: bool", row + "    spin: bool")
exec(compile(source, spec.origin, "exec"), vars(table))

from typer.testing import CliRunner
from tiankong.__main__ import app
from tiankong.bench.compare.side import parse_contender
from tiankong.bench.sweep.measure import SETTINGS
from tiankong.server.__main__ import read_arguments
from tiankong.server.bundle.bundle import start_command
from tiankong.toolkit.errors import UnusableInputError

settings = read_arguments(["--variant-dir=v", "--pace=3"])
try:
    table.Settings(Path("v"), pace=1)
except UnusableInputError as error:
    refused = str(error)
print(json.dumps({
    "read": settings.pace,
    "usual": table.Settings(Path("v")).pace,
    "said": settings.arguments(place=False),
    "refused": refused,
    "serve": "--pace" in CliRunner().invoke(app, ["serve", "--help"]).output,
    "bundle": "--pace" in CliRunner().invoke(app, ["bundle", "--help"]).output,
    "start": start_command(settings, "python", "variant", "::1")[-1],
    "compare": parse_contender("v@pace=5").settings,
    "recorded": "pace" in SETTINGS,
}))
"""


def another(row: Setting) -> Any:
    """Return a value that is not the usual one."""
    if row.kind is bool:
        return not row.default
    if row.kind in (int, float):
        return row.default + 1
    return row.kind("/elsewhere")


@pytest.fixture
def read() -> Any:
    """Return a function that reads arguments as ``tiankong serve`` does."""
    read: list[Settings] = []

    @takes(ROWS)
    def command(settings: Settings, stack: str = "") -> None:
        read.append(settings)

    one = typer.Typer()
    one.command()(command)

    def run(arguments: list[str]) -> Settings:
        done = CliRunner().invoke(one, arguments)
        assert done.exit_code == 0, done.output
        return read.pop()

    return run


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_both_command_lines_read_what_settings_say_of_themselves(row: Setting, read: Any) -> None:
    more = {"max_replicas": 9} if row.name == "replicas" else {}
    settings = Settings(Path("/v"), **{row.name: another(row)} | more)
    arguments = settings.arguments()
    assert read_arguments(arguments) == settings
    assert read(arguments[1:]) == Settings(Path(), **{row.name: another(row)} | more)


def test_what_is_not_given_is_as_usual(read: Any) -> None:
    assert read([]) == Settings(Path())
    assert read_arguments(["--variant-dir=v"]) == Settings(Path("v"))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_both_helps_have_every_setting(row: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_arguments(["--help"])
    texts = [capsys.readouterr().out]
    if not row.required:
        texts.append(CliRunner().invoke(app, ["serve", "--help"]).output)
    for text in texts:
        assert row.option in text
        assert row.text in " ".join(text.split())


@pytest.mark.parametrize("wrong", ["--max-batch=0", "--port=65536", "--streams=-1"])
def test_a_value_out_of_range_is_wrong_usage(wrong: str) -> None:
    done = CliRunner().invoke(app, ["serve", wrong])
    assert done.exit_code == 2
    assert f"Invalid value for '{wrong.partition('=')[0]}'" in done.output


def test_a_setting_more_is_one_row() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_MORE], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "read": 3,
        "usual": 4,
        "said": ["--pace=3"],
        "refused": "pace must be at least 2, not 1",
        "serve": True,
        "bundle": True,
        "start": "--pace=3",
        "compare": {"pace": 5},
        "recorded": True,
    }
