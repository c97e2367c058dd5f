"""The switches; that nothing leaves with them is tests/test_nothing_leaves.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tiankong.toolkit.telemetry import FOR_ALL, SWITCHES

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, sys
sys.path[:] = json.loads(sys.argv[1])
import tiankong
try:
    import openvino_telemetry
    found = True
except ModuleNotFoundError:
    found = False
print(json.dumps({"environ": dict(os.environ), "found": found}))
"""


def told(home: Path, **variables: str) -> dict[str, Any]:
    """Return the variables after the import, and whether OpenVINO's telemetry can be imported."""
    (home / "openvino_telemetry.py").touch()
    path = json.dumps([str(home), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], env={"HOME": str(home)} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_importing_the_package_switches_everything_off(tmp_path: Path) -> None:
    after = told(tmp_path)
    assert (SWITCHES | FOR_ALL).items() <= after["environ"].items()
    assert not after["found"]


def test_what_the_user_set_stays_and_an_empty_value_is_none(tmp_path: Path) -> None:
    after = told(tmp_path, ORT_DISABLE_TELEMETRY="", DO_NOT_TRACK="")["environ"]
    assert after["ORT_DISABLE_TELEMETRY"] == after["DO_NOT_TRACK"] == "1"
    after = told(tmp_path, HF_HUB_DISABLE_TELEMETRY="0")["environ"]
    assert after["HF_HUB_DISABLE_TELEMETRY"] == "0"
    assert after["ORT_DISABLE_TELEMETRY"] == "1"
    assert not after.get("DO_NOT_TRACK")  # huggingface_hub would obey it as well


@pytest.mark.parametrize(("consent", "found"), [("1\n", True), ("0", False), ("\udcff", False)])
def test_openvino_asks_its_own_file(tmp_path: Path, consent: str, found: bool) -> None:
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "openvino_telemetry").write_text(consent, "utf-8", "surrogateescape")
    assert told(tmp_path)["found"] is found


@pytest.mark.parametrize(
    "script",
    [*ROOT.glob("bench/peers/*/serve.py"), ROOT / "tests/interop/load.py"],
    ids=lambda path: path.parent.name,
)
def test_a_program_without_the_package_has_the_switch_before_its_imports(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    switch = text.index('"ORT_DISABLE_TELEMETRY"')
    assert switch < min(
        found for library in ("torch", "onnxruntime", "ray", "litserve", "optimum")
        if (found := text.find(f"\nimport {library}")) >= 0
    )  # fmt: skip
